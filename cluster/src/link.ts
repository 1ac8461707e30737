/**
 * Links clusters of this machine: a pair of interfaces between their network namespaces, and on each side routes to the other's pods and
 * nodes. Services stay each cluster's own. The pair goes when either namespace goes.
 */
import { MeshError } from '@tulle/api';
import { gatewayOf, isIpv6, runWithInput, usableAddresses } from './network/interfaces.ts';
import { CLUSTER_NUMBER_MAX, nodePodCidrs, podCidrs } from './pod-ranges.ts';
import { clusterNumber, runningCluster } from './state-folder.ts';

export interface LinkEnd {
  innerPid: number;
  number: number;
}

/** The clusters of some state folders, which must run. */
export function openLinks(stateDirs: readonly string[]): LinkEnd[] {
  if (stateDirs.length > 0 && process.getuid?.() !== 0) {
    throw new MeshError(
      'PERMISSION_DENIED',
      `link to ${stateDirs.join(', ')}: only root may join two clusters' networks`,
    );
  }
  return stateDirs.map((stateDir) => {
    const innerPid = runningCluster(stateDir)?.innerPid;
    if (innerPid === undefined) {
      throw new MeshError(
        'NOT_FOUND',
        `link to ${stateDir}: no cluster runs there; start it with tulle cluster up first`,
      );
    }
    return { innerPid, number: clusterNumber(stateDir) ?? 0 };
  });
}

/** The number of a cluster: the one it has, else the first that none of the linked ones has. */
export function numberBeside(own: number | undefined, links: readonly LinkEnd[]): number {
  const taken = new Set(links.map(({ number }) => number));
  if (taken.size < links.length || (own !== undefined && taken.has(own))) {
    throw new MeshError(
      'FAILED_PRECONDITION',
      `link clusters ${[own ?? [], ...links.map(({ number }) => number)].flat().join(', ')}: two have the same addresses; ` +
        'start one anew, in an empty state folder, with --link to the others',
    );
  }
  for (let number = own ?? 0; number <= CLUSTER_NUMBER_MAX; number++) if (!taken.has(number)) return number;
  throw new MeshError('RESOURCE_EXHAUSTED', `link ${links.length} clusters: ${CLUSTER_NUMBER_MAX + 1} can be linked`);
}

/** @throws MeshError with what `ip` wrote where it fails. */
export async function linkClusters(a: LinkEnd, b: LinkEnd): Promise<void> {
  const nameIn = (other: LinkEnd) => `link-${other.number}`;
  await inNetwork(a, [`link add ${nameIn(b)} type veth peer name ${nameIn(a)} netns ${b.innerPid}`]);
  for (const [here, there] of [
    [a, b],
    [b, a],
  ] as const) {
    const device = nameIn(there);
    const lines = [`link set ${device} up`];
    for (const cidr of usableAddresses(podCidrs(there.number))) {
      if (isIpv6(cidr)) {
        lines.push(
          `addr add ${linkIpv6(here)}/64 dev ${device} nodad`,
          `route add ${cidr} via ${linkIpv6(there)} dev ${device}`,
        );
      } else {
        lines.push(`addr add ${linkIpv4(here)} peer ${linkIpv4(there)} dev ${device}`);
        lines.push(
          `route add ${cidr} via ${linkIpv4(there)} dev ${device} src ${gatewayOf(nodePodCidrs(here.number, 0)[0])}`,
        );
      }
    }
    await inNetwork(here, lines);
  }
}

/** Link-local (RFC 3927): it says nothing beyond the pair. */
function linkIpv4({ number }: LinkEnd): string {
  return `169.254.42.${number + 1}`;
}

function linkIpv6({ number }: LinkEnd): string {
  return `fe80::42:${(number + 1).toString(16)}`;
}

function inNetwork({ innerPid }: LinkEnd, lines: string[]): Promise<void> {
  return runWithInput(
    'nsenter',
    ['--target', String(innerPid), '--net', '--', 'ip', '-batch', '-'],
    `${lines.join('\n')}\n`,
  );
}
