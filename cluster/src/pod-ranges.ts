/** The pods' addresses of a cluster, by its number: clusters that are linked have different ones, so that a pod's is one of a kind. */

/** Past it the IPv4 ranges would meet those of Services. */
export const CLUSTER_NUMBER_MAX = 15;

/** All pods of a cluster: an IPv4 and an IPv6 range. */
export function podCidrs(clusterNumber: number): [string, string] {
  return [`10.${42 + clusterNumber}.0.0/16`, `fd42:0:${clusterNumber.toString(16)}::/48`];
}

/** Those of one node: a sixteenth of the IPv4 range. */
export function nodePodCidrs(clusterNumber: number, node: number): [string, string] {
  const number = clusterNumber.toString(16);
  return [`10.${42 + clusterNumber}.${node * 16}.0/20`, `fd42:0:${number}:${node.toString(16)}::/64`];
}
