/** The Kubernetes client of the mesh: thin, streaming, one watch per kind. */
export { Backoff, type BackoffRange, sleep } from './backoff.ts';
export {
  type Client,
  createClient,
  type DeleteOptions,
  type LogOptions,
  type PatchOptions,
  type PatchType,
  type Selection,
  type WriteOptions,
} from './client.ts';
export type { ClusterConfig } from './cluster-config.ts';
export type { ServedKind } from './discovery.ts';
export { loadInClusterConfig } from './in-cluster.ts';
export { type KubeconfigOptions, loadKubeconfig } from './kubeconfig.ts';
export { type LeaseOptions, runLease } from './lease.ts';
export { getFromPod, type PodHttpTarget } from './pod-http.ts';
export { type Reflector, type ReflectorEvent, type ReflectorOptions, startReflector } from './reflector.ts';
export { collectionPath, groupPath, objectPath } from './resource-path.ts';
export { matchesLabels, matchesSelector } from './selector.ts';
export { errorFromStatus } from './status-error.ts';
export type { Answer, RequestOptions } from './transport.ts';
export { waitFor } from './wait-for.ts';
export type { WatchEvent } from './watch-stream.ts';
