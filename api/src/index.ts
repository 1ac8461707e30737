/** What the mesh says and reads: its error, the Kubernetes kinds, the parsers. No behaviour. */
export { MeshError, type MeshErrorCode } from './mesh-error.ts';
