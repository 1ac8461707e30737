/**
 * TrafficTargets of the Service Mesh Interface, by the ServiceAccount whose pods they are for. A pod that one is for lets
 * in just those whom its targets name, on every port that no Server selects. A target that cannot be read counts as one
 * that names nobody.
 */
import { type KubeObject, MeshError, TRAFFIC_TARGETS } from '@tulle/api';
import { Field } from '@tulle/api/field.ts';
import { objectRef } from '@tulle/api/object-ref.ts';
import type { NamespacedName } from '@tulle/api/policy/target-ref.ts';
import type { HttpMatch } from '@tulle/api/routes/http-match.ts';
import {
  type HttpRouteGroup,
  parseHttpRouteGroup,
  parseSmiTcpRoute,
  type SmiTcpRoute,
} from '@tulle/api/smi/traffic-specs.ts';
import { parseTrafficTarget, type TrafficRule, type TrafficTarget } from '@tulle/api/smi/traffic-target.ts';
import type { NamedPorts } from '../../workloads/endpoint.ts';
import { MultiMap } from '../../workloads/multi-map.ts';
import {
  ALL_NETWORKS,
  type Authorization,
  type IdentityDomain,
  serviceAccountIdentity,
  wholeNetworks,
} from './authorization.ts';
import type { InboundRoute } from './resolved-server.ts';
import type { WorkloadKey } from './workload.ts';

export type TrafficKind = 'TrafficTarget' | 'HTTPRouteGroup' | 'TCPRoute';

export interface TrafficAccess {
  /** For everything that is said on the port. */
  authorizations: readonly Authorization[];
  /** For requests of HTTP, in order. */
  httpRoutes: readonly InboundRoute<HttpMatch>[];
}

/** Whom the targets that name it let in is still being collected. */
interface SharedRoute {
  route: Omit<InboundRoute<HttpMatch>, 'authorizations'>;
  authorizations: Authorization[];
}

/** Comes after the groups' matches, which are expressions too: of equal matches the first wins. */
const EVERY_OTHER_REQUEST: InboundRoute<HttpMatch> = {
  source: 'default',
  hostnames: [],
  rules: [
    { field: '', matches: [{ path: { kind: 'regex', value: '.*' }, headers: [], queryParams: [] }], filters: [] },
  ],
  authorizations: [],
};

export class TrafficTargetSet {
  readonly #domain: IdentityDomain;
  readonly #targets = new Map<string, TrafficTarget>();
  readonly #groups = new Map<string, HttpRouteGroup>();
  readonly #tcpRoutes = new Map<string, SmiTcpRoute>();
  /** What could not be read, by `Kind/namespace/name`. */
  readonly #refused = new Map<string, string>();
  readonly #targetsByAccount = new MultiMap<string, string>();
  readonly #targetsByRule = new MultiMap<string, string>();
  readonly #podsByAccount = new MultiMap<string, WorkloadKey>();
  readonly #accounts = new Map<WorkloadKey, string>();

  constructor(domain: IdentityDomain) {
    this.#domain = domain;
  }

  /** Returns the pods whose answers may have changed. */
  apply(kind: TrafficKind, key: string, object: KubeObject | undefined): Set<WorkloadKey> {
    this.#refused.delete(`${kind}/${key}`);
    if (kind === 'TrafficTarget') {
      const read = object && this.#read(kind, key, object, parseTrafficTarget);
      return this.#replaceTarget(key, read ?? (object && closedTarget(object)));
    }
    if (kind === 'HTTPRouteGroup') {
      setOrDelete(this.#groups, key, object && this.#read(kind, key, object, parseHttpRouteGroup));
    } else setOrDelete(this.#tcpRoutes, key, object && this.#read(kind, key, object, parseSmiTcpRoute));
    const targets = [...this.#targetsByRule.get(`${kind}/${key}`)];
    return new Set(targets.flatMap((target) => [...this.#podsOf(this.#targets.get(target)!)]));
  }

  /** Tells of a pod's ServiceAccount, `namespace/name`; undefined: it is gone. */
  replacePod(pod: WorkloadKey, account: string | undefined): void {
    const old = this.#accounts.get(pod);
    if (old === account) return;
    if (old !== undefined) this.#podsByAccount.delete(old, pod);
    if (account !== undefined) this.#podsByAccount.add(account, pod);
    setOrDelete(this.#accounts, pod, account);
  }

  /** Undefined where no target is for the account. */
  accessTo(account: string, ports: NamedPorts, port: number): TrafficAccess | undefined {
    const keys = [...this.#targetsByAccount.get(account)].sort();
    if (keys.length === 0) return undefined;
    const authorizations: Authorization[] = [];
    const routes = new Map<string, SharedRoute>();
    for (const target of keys.map((key) => this.#targets.get(key)!)) {
      const authorization = this.#authorizationOf(target);
      if (!authorization || !isOnPort(target, ports, port)) continue;
      if (!target.rules) authorizations.push(authorization);
      const isEverything = target.rules?.some((rule) => this.#takesEverything(target, rule, port)) ?? false;
      if (isEverything) authorizations.push(authorization);
      else for (const rule of target.rules ?? []) this.#addRoutes(target, rule, authorization, routes);
    }
    const httpRoutes = [...routes.values()].map(({ route, authorizations: own }) => ({
      ...route,
      authorizations: own,
    }));
    return { authorizations, httpRoutes: httpRoutes.length > 0 ? [...httpRoutes, EVERY_OTHER_REQUEST] : [] };
  }

  problems(kind: TrafficKind, key: string): readonly string[] {
    const refused = this.#refused.get(`${kind}/${key}`);
    return refused === undefined ? [] : [`lets nobody in: ${refused}`];
  }

  sizes(): Record<string, number> {
    return {
      trafficTargets: this.#targets.size,
      httpRouteGroups: this.#groups.size,
      smiTcpRoutes: this.#tcpRoutes.size,
      refusedTargets: this.#refused.size,
      targetsByAccount: this.#targetsByAccount.size,
      targetsByRule: this.#targetsByRule.size,
      podsByAccount: this.#podsByAccount.size,
      accounts: this.#accounts.size,
    };
  }

  #read<T>(kind: TrafficKind, key: string, object: KubeObject, parse: (object: KubeObject) => T): T | undefined {
    try {
      return parse(object);
    } catch (cause) {
      this.#refused.set(`${kind}/${key}`, MeshError.from(cause).message);
      return undefined;
    }
  }

  #replaceTarget(key: string, target: TrafficTarget | undefined): Set<WorkloadKey> {
    const pods = new Set<WorkloadKey>();
    const old = this.#targets.get(key);
    if (old) {
      for (const pod of this.#podsOf(old)) pods.add(pod);
      this.#targetsByAccount.delete(accountOf(old.destination), key);
      for (const rule of old.rules ?? []) this.#targetsByRule.delete(ruleKey(old, rule), key);
    }
    setOrDelete(this.#targets, key, target);
    if (!target) return pods;
    this.#targetsByAccount.add(accountOf(target.destination), key);
    for (const rule of target.rules ?? []) this.#targetsByRule.add(ruleKey(target, rule), key);
    for (const pod of this.#podsOf(target)) pods.add(pod);
    return pods;
  }

  #podsOf({ destination }: TrafficTarget): ReadonlySet<WorkloadKey> {
    return this.#podsByAccount.get(accountOf(destination));
  }

  #authorizationOf({ ref, sources }: TrafficTarget): Authorization | undefined {
    if (sources.length === 0) return undefined;
    const identities = sources.map((account) => serviceAccountIdentity(account, this.#domain));
    return { source: ref, networks: wholeNetworks(ALL_NETWORKS), clients: { kind: 'mesh', identities } };
  }

  #takesEverything({ ref }: TrafficTarget, { kind, name, matches }: TrafficRule, port: number): boolean {
    if (kind === 'TCPRoute') {
      const ports = this.#tcpRoutes.get(`${ref.namespace}/${name}`)?.ports;
      return ports !== undefined && (ports.length === 0 || ports.includes(port));
    }
    const group = kind === 'HTTPRouteGroup' ? this.#groups.get(`${ref.namespace}/${name}`) : undefined;
    const meant = group?.matches.filter((match) => matches.length === 0 || matches.includes(match.name));
    return meant?.some(({ isEverything }) => isEverything) ?? false;
  }

  /** One route for each match, for all the targets that name it. */
  #addRoutes(
    { ref }: TrafficTarget,
    { kind, name, matches }: TrafficRule,
    authorization: Authorization,
    routes: Map<string, SharedRoute>,
  ): void {
    const group = kind === 'HTTPRouteGroup' ? this.#groups.get(`${ref.namespace}/${name}`) : undefined;
    for (const [i, match] of (group?.matches ?? []).entries()) {
      if (!group || (matches.length > 0 && !matches.includes(match.name))) continue;
      const key = `${name}/${match.name}`;
      const rules = [{ field: `spec.matches[${i}]`, matches: match.matches, filters: [] }];
      const known: SharedRoute = routes.get(key) ?? {
        route: { source: group.ref, hostnames: [], rules },
        authorizations: [],
      };
      known.authorizations.push(authorization);
      routes.set(key, known);
    }
  }
}

/** One that names nobody; undefined where it cannot be told whose pods it is for. */
function closedTarget(object: KubeObject): TrafficTarget | undefined {
  const ref = objectRef(object, TRAFFIC_TARGETS);
  const root = new Field('', object, []);
  const body = root.get('spec').isSet ? root.get('spec') : root;
  const name = body.get('destination').get('name').value;
  return typeof name === 'string' ? { ref, destination: { namespace: ref.namespace, name }, sources: [] } : undefined;
}

function isOnPort({ port: wanted }: TrafficTarget, ports: NamedPorts, port: number): boolean {
  if (wanted === undefined || wanted === port) return true;
  return ports.some((each) => each.name === wanted && each.port === port);
}

function ruleKey({ ref }: TrafficTarget, { kind, name }: TrafficRule): string {
  return `${kind}/${ref.namespace}/${name}`;
}

function accountOf({ namespace, name }: NamespacedName): string {
  return `${namespace}/${name}`;
}

function setOrDelete<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
