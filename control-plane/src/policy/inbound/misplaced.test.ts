/**
 * Whatever field of a Server or an authorization is moved to another place, or drawn out of what it stands in: nobody is let
 * in whom the whole object does not let in.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  SERVER_AUTHORIZATIONS,
} from '@tulle/api';
import { parse } from 'yaml';
import { pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { evaluateInbound, type InboundClient } from './evaluate.ts';

type Tree = Record<string, unknown>;
type Json = any;

const GROUP = 'policy.linkerd.io';
const WORLD = [
  pod('web', { labels: { app: 'web' } }),
  pod('bot', { labels: { app: 'bot', tier: 'back' } }),
  server('http', {}, { labels: { kind: 'internal' } }),
  server('other', { port: 9000 }, { labels: { tier: 'front' } }),
];
const NETWORKS = [{ cidr: '10.1.0.0/16', except: ['10.1.2.0/24'] }];
const SERVER_REF = { group: GROUP, kind: 'Server', name: 'http' };
const REFS = [
  { group: GROUP, kind: 'MeshTLSAuthentication', name: 'mesh', namespace: 'shared' },
  { group: GROUP, kind: 'NetworkAuthentication', name: 'network' },
];
const ACCOUNT = { kind: 'ServiceAccount', name: 'web', namespace: 'clients' };
const mesh = policy(MESH_TLS_AUTHENTICATIONS, 'mesh', { identityRefs: [ACCOUNT] }, { namespace: 'shared' });
const network = policy(NETWORK_AUTHENTICATIONS, 'network', { networks: NETWORKS });
const asks = policy(AUTHORIZATION_POLICIES, 'p', { targetRef: SERVER_REF, requiredAuthenticationRefs: REFS });
const { kind: _, ...CLIENT } = ACCOUNT;

const POD_SELECTOR = {
  matchLabels: { app: 'web' },
  matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }],
};

/** Each object to try, and what stands around it. */
const SUBJECTS: readonly [subject: KubeObject, ...around: KubeObject[]][] = [
  ...[
    { selector: { matchLabels: { kind: 'internal' } } },
    { selector: { kind: 'internal' } },
    { name: 'http' },
  ].flatMap((of) =>
    [
      { networks: NETWORKS, meshTLS: { serviceAccounts: [CLIENT] } },
      { networks: NETWORKS, meshTLS: null, serviceAccounts: [CLIENT] },
      { networks: NETWORKS, meshTLS: { identities: ['web.clients.example'] } },
      { networks: NETWORKS, meshTLS: { unauthenticatedTLS: true } },
      { networks: NETWORKS, unauthenticated: true },
    ].map((client): [KubeObject] => [policy(SERVER_AUTHORIZATIONS, 's', { server: of, client })]),
  ),
  [asks, mesh, network],
  [policy(AUTHORIZATION_POLICIES, 'p', { targetRef: SERVER_REF, requiredAuthenticationRefs: [ACCOUNT] })],
  [mesh, asks, network],
  ...[POD_SELECTOR, { ...POD_SELECTOR, matchLabels: {} }].map((podSelector): [KubeObject] => [
    server('open', { podSelector, port: 9100, accessPolicy: 'all-unauthenticated' }),
  ]),
  [network, asks, mesh],
];

const ID = (account: string, namespace: string) =>
  `${account}.${namespace}.serviceaccount.identity.linkerd.cluster.local`;
const IDENTITIES = [ID('web', 'clients'), ID('web', 'app'), ID('bot', 'clients'), 'web.clients.example', undefined];
const ADDRESSES = ['10.1.0.1', '10.1.2.1', '10.2.0.1', '192.0.2.1'];
const CLIENTS = ADDRESSES.flatMap((ip): InboundClient[] => [
  { ip, isTls: false },
  ...IDENTITIES.map((id) => ({ ip, isTls: true, ...(id === undefined ? {} : { id }) })),
]);

const PORTS = ['web', 'bot'].flatMap((name) => [8080, 9000, 9100].map((port) => [name, port] as const));

/** Who of them gets in where. */
function letIn(objects: readonly KubeObject[]): Set<string> {
  const world = new InboundWorld([...WORLD, ...objects], { defaultPolicy: 'deny' });
  return new Set(
    PORTS.flatMap(([name, port]) => {
      const found = world.server(name, port)!;
      return CLIENTS.filter((client) => evaluateInbound(found, { client }).verdict === 'allow').map(
        ({ ip, id, isTls }) => `${name}:${port} ${ip} ${id ?? (isTls ? 'TLS' : 'plain')}`,
      );
    }),
  );
}

/** Every object in a tree, the lists' elements too. */
function objectsIn(value: unknown): Tree[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(objectsIn);
  return Array.isArray(value) ? inner : [value as Tree, ...inner];
}

/** The root beside the spec, the spec, and all that is in it. */
function placesIn(root: Tree): Tree[] {
  return [root, ...objectsIn(root.spec)];
}

type Slip = readonly [what: string, slipped: Tree];

/** Each way in which one field of the object may slip. */
function* slips(object: KubeObject): Generator<Slip> {
  const fresh = () => structuredClone(object) as unknown as Tree;
  for (const [from, place] of placesIn(fresh()).entries()) {
    for (const key of Object.keys(place).filter((name) => from > 0 || name === 'spec')) {
      yield* slipsOf(fresh, from, key);
    }
  }
}

function* slipsOf(fresh: () => Tree, from: number, key: string): Generator<Slip> {
  const drawn = fresh();
  const outer = placesIn(drawn)[from]!;
  const inner = Array.isArray(outer[key]) ? (outer[key] as unknown[])[0] : outer[key];
  if (typeof inner === 'object' && inner !== null) {
    outer[key] = null;
    Object.assign(outer, inner);
    yield [`what is in ${key} drawn out`, drawn];
  }

  for (const to of placesIn(fresh()).keys()) {
    const moved = fresh();
    const places = placesIn(moved);
    const [source, target] = [places[from]!, places[to]!];
    if (Object.hasOwn(target, key) || objectsIn(source[key]).includes(target)) continue;
    target[key] = source[key];
    for (const left of [undefined, null]) {
      if (left === undefined) delete source[key];
      else source[key] = left;
      yield [`${key} moved to ${Object.keys(target)}`, structuredClone(moved)];
    }
  }
}

test('a field in a wrong place lets in nobody more', () => {
  let tried = 0;
  for (const [subject, ...around] of SUBJECTS) {
    const meant = letIn([subject, ...around]);
    assert.ok(meant.size > 0, JSON.stringify(subject.spec));
    for (const [what, slipped] of slips(subject)) {
      tried++;
      const more = [...letIn([slipped as unknown as KubeObject, ...around])].filter((each) => !meant.has(each));
      assert.deepEqual(more, [], `${what} of ${JSON.stringify(subject.spec)}: ${JSON.stringify(slipped)}`);
    }
  }
  assert.ok(tried > 1000, `only ${tried} were tried`);
});

test('a field of a rate limit in a wrong place lets through no request more', () => {
  const limit = policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'l', {
    targetRef: SERVER_REF,
    total: { requestsPerSecond: 100 },
    identity: { requestsPerSecond: 10 },
    overrides: [{ requestsPerSecond: 5, clientRefs: [ACCOUNT] }],
  });
  const attempts = [1, 50, 101].flatMap((total) =>
    [1, 6, 11]
      .filter((client) => client <= total)
      .flatMap((client) =>
        IDENTITIES.map((id) => ({ client: { ip: '10.0.0.1', isTls: id !== undefined, id }, rates: { total, client } })),
      ),
  );
  const through = (object: KubeObject) => {
    const open = server('http', { accessPolicy: 'all-unauthenticated' });
    const found = new InboundWorld([WORLD[0]!, open, object]).server('web')!;
    const request = { method: 'GET', path: '/', host: 'web', headers: {} };
    const isLet = (attempt: (typeof attempts)[0]) =>
      evaluateInbound(found, { ...attempt, request }).verdict === 'allow';
    return attempts.filter(isLet).map((attempt) => JSON.stringify(attempt));
  };
  const meant = new Set(through(limit));
  for (const [what, slipped] of slips(limit)) {
    const target = (slipped.spec as Json)?.targetRef;
    // An API server refuses one that does not say what it limits.
    if (!target?.kind || !target.name) continue;
    const more = through(slipped as unknown as KubeObject).filter((each) => !meant.has(each));
    assert.deepEqual(more, [], `${what}: ${JSON.stringify(slipped)}`);
  }
});

test('API servers keep the fields that stand in a wrong place', () => {
  const cut = (schema: Json, path: string): string[] => {
    if (schema.items) return cut(schema.items, `${path}[]`);
    const inner = Object.entries(schema.properties ?? {}).flatMap(([name, each]) =>
      name === 'status' ? [] : cut(each, `${path}.${name}`),
    );
    const isKept = schema['x-kubernetes-preserve-unknown-fields'] === true;
    // What is wrong with a single expression, its reader tells.
    return schema.type !== 'object' || isKept || /matchLabels|matchExpressions/.test(path) ? inner : [path, ...inner];
  };
  for (const name of [
    'server',
    'http-local-rate-limit-policy',
    'egress-network',
    'server-authorization',
    'authorization-policy',
    'mesh-tls-authentication',
    'network-authentication',
  ]) {
    const text = readFileSync(join(import.meta.dirname, `../../../../api/crds/${name}.yaml`), 'utf8');
    const { versions } = parse(text, { merge: true }).spec;
    for (const { schema } of versions) assert.deepEqual(cut(schema.openAPIV3Schema, name), []);
  }
});
