/**
 * A user namespace with one uid cannot run the proxy as uid 2102, so the redirect tells the proxy's packets by a mark
 * instead, which only our proxy and our init container know. Everything else says in an event what differs.
 */

import type { Container } from '@tulle/api';
import type { ProcessSpec } from '../sandbox/pod-runtime.ts';
import { imageName } from './images.ts';
import { capabilityNumber, type Identity, type UidRange } from './security.ts';

/** Any value that nobody else uses in the pod. */
const PROXY_MARK = '2102';
const PROXY_CONTAINERS = new Set(['linkerd-proxy', 'linkerd-init']);
const OWN_IMAGE = 'tulle/proxy';

/** Changes `process` and `env` where it must; returns what the pod's owner should know. */
export function adaptToSingleUid(
  container: Container,
  identity: Identity,
  process: ProcessSpec,
  env: Map<string, string>,
  uids: UidRange,
): string[] {
  if (identity.missingUid === undefined) return [];
  const all = `uid ${identity.missingUid} does not exist in this user namespace, which has ${uids.count}`;
  if (!PROXY_CONTAINERS.has(container.name)) return [`${all}: the container runs as its root`];
  env.set('TULLE_PROXY_MARK', PROXY_MARK);
  // A mark needs one of these; they count in the pod's own network namespace alone.
  for (const name of ['NET_ADMIN', 'NET_RAW']) process.capabilities = [...process.capabilities, capabilityNumber(name)];
  if (imageName(container.image ?? '') === OWN_IMAGE) return [];
  return [
    `${all}, so the redirect exempts the proxy by packet mark, which only ${OWN_IMAGE} sets: this proxy will not work`,
  ];
}
