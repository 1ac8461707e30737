/** A cluster on one Linux machine, for the command line, the demo and the tests. */
export { type ClusterOptions, type RunningCluster, startCluster } from './cluster.ts';
export { type ClusterProcess, runningCluster } from './state-folder.ts';
