/**
 * From callers that proxies have seen to the policies that let in just them: a Server for each port without one, and for
 * each Server or route the identities that called it. Pure.
 */
import type { KubeObject, Pod, ProxyScrape } from '@tulle/api';
import { addUp, countText, portName, type SeenCaller, seenCallers, serviceAccountOf } from './seen-traffic.ts';

export interface Suggestion {
  object: KubeObject;
  /** What stands above it, a paragraph each. */
  notes: string[];
}

export interface SuggestInput {
  scrapes: readonly ProxyScrape[];
  pods: readonly Pod[];
  /** Labels that select the pods of a workload, by `namespace/kind/name`; pods of others are selected by their own labels. */
  selectors: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** What decides on the port now: metrics may tell of what is gone. */
  portOf(pod: Pod, port: number): PortNow;
  /** Servers, AuthorizationPolicies and MeshTLSAuthentications of the cluster, which must not be written over. */
  existing: readonly KubeObject[];
}

export interface PortNow {
  /** The Server of the port. */
  server?: string;
  /** Its routes. */
  routes: readonly { group: string; kind: string; name: string }[];
  /** Whether proxies take its connections as bytes; a new Server must not change that. */
  isOpaque: boolean;
  /** What lets clients in by its Server now: `AuthorizationPolicy web`, `accessPolicy all-unauthenticated`. */
  openBy: readonly string[];
}

const POLICY = 'policy.linkerd.io';
/** Labels that come and go with the pods of one workload. */
const PASSING_LABELS =
  /^(pod-template-hash|pod-template-generation|controller-revision-hash|controller-uid|job-name|statefulset\.kubernetes\.io\/.*|apps\.kubernetes\.io\/pod-index|batch\.kubernetes\.io\/.*|linkerd\.io\/.*|topology\.kubernetes\.io\/.*)$/;
const NAME_CHARACTERS_MAX = 253;

export interface Suggestions {
  /** In the order to apply them: a Server closes its port, and so comes after those who may pass. */
  suggestions: Suggestion[];
  /** Ports that nothing is suggested for, and why. */
  leftOut: string[];
}

export function suggestPolicies({ scrapes, pods, selectors, portOf, existing }: SuggestInput): Suggestions {
  const workloads = new Map(scrapes.map(({ namespace, pod, workload }) => [`${namespace}/${pod}`, workload]));
  const podOf = new Map(pods.map((pod) => [`${pod.metadata.namespace}/${pod.metadata.name}`, pod]));
  const placeOf = ({ namespace, pod, port }: SeenCaller) => {
    const workload = workloads.get(`${namespace}/${pod}`)!;
    return `${namespace}/${workload.kind}/${workload.name}/${port}`;
  };
  const all: Suggestions = { suggestions: [], leftOut: [] };
  for (const [place, callers] of addUp(seenCallers(scrapes), placeOf)) {
    const [namespace, kind, name, port] = place.split('/') as [string, string, string, string];
    const pod = podOf.get(`${namespace}/${callers[0]!.pod}`);
    if (!pod) continue;
    if (!callers.some(({ clientId, allowed }) => clientId !== undefined && allowed > 0)) {
      all.leftOut.push(`port ${port} of ${kind} ${namespace}/${name}: nobody with an identity was let in`);
      continue;
    }
    const labels = selectors.get(`${namespace}/${kind}/${name}`) ?? lastingLabels(pod);
    const inNamespace = existing.filter(({ metadata }) => metadata.namespace === namespace);
    const at = { namespace, workload: name, port: Number(port), pod, labels, callers, existing: inNamespace };
    all.suggestions.push(...suggestForPort({ ...at, now: portOf(pod, at.port) }));
  }
  return all;
}

interface PortInput {
  namespace: string;
  workload: string;
  port: number;
  pod: Pod;
  labels: Readonly<Record<string, string>>;
  callers: readonly SeenCaller[];
  now: PortNow;
  /** In the namespace. */
  existing: readonly KubeObject[];
}

function suggestForPort(input: PortInput): Suggestion[] {
  const { namespace, workload, port, pod, labels, callers, now, existing } = input;
  const named = portName(pod, port) ?? String(port);
  const isServer = (name: string) => existing.some(({ kind, metadata }) => kind === 'Server' && metadata.name === name);
  const serverName = now.server ?? freeName(nameOf(workload, named), isServer);
  const byTarget = new Map<string, SeenCaller[]>();
  for (const caller of callers) {
    if (caller.clientId === undefined || caller.allowed === 0) continue;
    const target = now.routes.find((one) => isSameRoute(one, caller.route));
    const { group, kind, name } = target ?? { group: POLICY, kind: 'Server', name: serverName };
    const key = JSON.stringify({ group, kind, name });
    byTarget.set(key, [...(byTarget.get(key) ?? []), caller]);
  }
  const suggestions = [...byTarget].flatMap(([key, ofTarget]) =>
    authorizations(namespace, JSON.parse(key), ofTarget, existing),
  );
  const notes = notesOf(port, callers);
  if (now.server !== undefined) {
    const ours = new Set(suggestions.map(({ object }) => `${object.kind} ${object.metadata.name}`));
    const others = now.openBy.filter((by) => !ours.has(by));
    if (others.length > 0) notes.push(`Server ${serverName} goes on to let in others too, by ${others.join(', ')}.`);
    suggestions[0]!.notes.unshift(...notes);
    return suggestions;
  }
  const server: KubeObject = {
    apiVersion: `${POLICY}/v1beta3`,
    kind: 'Server',
    metadata: { name: serverName, namespace },
    spec: {
      podSelector: { matchLabels: { ...labels } },
      port: portName(pod, port) ?? port,
      proxyProtocol: now.isOpaque ? 'opaque' : 'unknown',
    },
  };
  const closing = `Closes port ${named} of ${workload} to everybody but those above.`;
  return [...suggestions, { notes: [closing, ...notes], object: server }];
}

function isSameRoute(a: PortNow['routes'][number], b: SeenCaller['route']): boolean {
  return b !== undefined && a.group === b.group && a.kind === b.kind && a.name === b.name;
}

/** Who would be refused. */
function notesOf(port: number, callers: readonly SeenCaller[]): string[] {
  const strangers = callers.filter(({ clientId, allowed }) => clientId === undefined && allowed > 0);
  const met = strangers.map((one) => `${count(one)}${one.isTls ? ' over TLS' : ''}`).join(' and ');
  return [
    ...(met
      ? [
          `Refused with it: ${met} of port ${port} that came without an identity, from clients without a proxy or from the kubelet. HTTP probes are let in by themselves; to let in others, add an AuthorizationPolicy that requires a NetworkAuthentication.`,
        ]
      : []),
    ...callers
      .filter(({ denied }) => denied > 0)
      .map((one) => `Refused until now: ${who(one)}, ${countText(one.denied, one.unit)}.`),
  ];
}

function authorizations(
  namespace: string,
  targetRef: { group: string; kind: string; name: string },
  callers: readonly SeenCaller[],
  existing: readonly KubeObject[],
): Suggestion[] {
  const isOthers = (name: string) => isForAnother(existing, name, targetRef);
  const name = freeName(nameOf(targetRef.name, 'callers'), isOthers);
  const identities = [...new Set(callers.map(({ clientId }) => clientId!))].sort();
  const accounts = identities.map(serviceAccountOf);
  const areAccounts = accounts.every((account) => account !== undefined);
  const spec = areAccounts
    ? { identityRefs: accounts.map((account) => ({ kind: 'ServiceAccount', ...account })) }
    : { identities };
  return [
    {
      notes: callers.map((one) => `Seen: ${who(one)}, ${count(one)}.`),
      object: {
        apiVersion: `${POLICY}/v1alpha1`,
        kind: 'MeshTLSAuthentication',
        metadata: { name, namespace },
        spec,
      },
    },
    {
      notes: [],
      object: {
        apiVersion: `${POLICY}/v1alpha1`,
        kind: 'AuthorizationPolicy',
        metadata: { name, namespace },
        spec: {
          targetRef,
          requiredAuthenticationRefs: [{ group: POLICY, kind: 'MeshTLSAuthentication', name }],
        },
      },
    },
  ];
}

/** Objects of the name are somebody else's, unless an earlier suggestion for the same target made them. */
function isForAnother(existing: readonly KubeObject[], name: string, target: { kind: string; name: string }): boolean {
  const named = existing.filter(({ kind, metadata }) => kind !== 'Server' && metadata.name === name);
  const policy = named.find(({ kind }) => kind === 'AuthorizationPolicy');
  const { kind, name: targetName } = policy?.spec?.targetRef ?? {};
  return named.length > 0 && (kind !== target.kind || targetName !== target.name);
}

function freeName(name: string, isTaken: (name: string) => boolean): string {
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? name : `${name}-${n}`;
    if (!isTaken(candidate)) return candidate;
  }
}

function lastingLabels({ metadata }: Pod): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata.labels ?? {}).filter(([name]) => !PASSING_LABELS.test(name)));
}

function who({ clientId }: SeenCaller): string {
  const account = clientId && serviceAccountOf(clientId);
  return account ? `ServiceAccount ${account.namespace}/${account.name}` : (clientId ?? 'clients without an identity');
}

const count = ({ allowed, unit }: SeenCaller) => countText(allowed, unit);
const nameOf = (...parts: string[]) => parts.join('-').toLowerCase().slice(0, NAME_CHARACTERS_MAX);
