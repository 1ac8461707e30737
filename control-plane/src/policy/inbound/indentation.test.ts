/** Policies whose indentation slipped: none lets in anybody whom its author did not name. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import { formatIp } from '@tulle/api/ip-address.ts';
import { parse, parseAllDocuments } from 'yaml';
import { pod } from '../../testing/objects.ts';
import { InboundWorld } from '../../testing/policies.ts';
import type { Authorization } from './authorization.ts';

const PRINTED = `
apiVersion: policy.linkerd.io/v1beta1
kind: Server
metadata:
  namespace: emojiivoto
  name: emoji-grpc
  labels:
    app-kind: internal
spec:
  podSelector:
    matchLabels:
      app: emoji # matches pods labeled app=emoji
  port: grpc # matches the containerPort named grpc
  proxyProtocol: gRPC # configures protocol detection
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata:
  namespace: emojiivoto
  name: emoji-grpc
spec:
  server:
    selector:
      app-kind: internal # matches servers by label
  client:
    meshTLS: # authorizes mTLS'd connections from web
    serviceAccounts:
      - name: web
`;
const [SERVER, PRINTED_AUTHORIZATION] = parseAllDocuments(PRINTED).map((each) => each.toJS() as KubeObject) as [
  KubeObject,
  KubeObject,
];
const METADATA = { namespace: 'emojiivoto', name: 'x' };
const EMOJI = pod('emoji', {
  namespace: 'emojiivoto',
  labels: { app: 'emoji' },
  containers: [{ name: 'app', ports: [{ name: 'grpc', containerPort: 8080 }] }],
});

/** `WHO from NETWORKS`, of each authorization of the port; accounts of the namespace by their name alone. */
function letsIn(...objects: KubeObject[]): string {
  const found = new InboundWorld([EMOJI, ...objects]).server('emoji', 8080, { namespace: 'emojiivoto' })!;
  return found.authorizations.map(textOf).join('; ');
}

function textOf({ networks, clients }: Authorization): string {
  const who =
    clients.kind === 'mesh'
      ? clients.identities.map((each) => (each.kind === 'exact' ? each.name : `*.${each.parts.join('.')}`)).join(' ')
      : clients.kind;
  const nets = networks.map(({ network, except }) => {
    const text = `${formatIp(network.address)}/${network.prefixLength}`;
    return except.length > 0 ? `${text} except ${except.map((each) => formatIp(each.address))}` : text;
  });
  return `${who.replaceAll('.emojiivoto.serviceaccount.identity.linkerd.cluster.local', '')} from ${nets.join(' ')}`;
}

const CLUSTER = '10.0.0.0/8';
const EVERYWHERE = '0.0.0.0/0 ::/0';

test('the two resources, as they were printed, let in web over mutual TLS', () => {
  assert.equal(letsIn(SERVER, PRINTED_AUTHORIZATION), `web from ${CLUSTER}`);
});

const CLIENTS: [client: string, expected: string][] = [
  ['{}', ''],
  ['', ''],
  ['{ meshTLS: }', ''],
  ['{ meshTLS: {} }', ''],
  ['{ meshTLS: { identities: [] } }', ''],
  ['{ meshTLS: { identities: , serviceAccounts: } }', ''],
  ['{ meshTLS: { serviceAccounts: [] }, serviceAccounts: [] }', ''],
  ['{ meshTLS: { unauthenticatedTLS: false } }', ''],
  ['{ unauthenticated: false }', ''],
  ['{ unauthenticated: "true" }', ''],
  ['{ serviceAccounts: [] }', ''],
  ['{ serviceAccounts: [{}] }', ''],
  ['{ serviceAccounts: [web] }', ''],
  ['{ serviceAccounts: { name: web } }', ''],
  ['{ serviceAccounts: [{ name: web }, { namespace: other }] }', ''],
  ['{ networks: [{ cidr: 10.1.0.0/16 }] }', ''],
  ['{ name: web }', ''],
  ['{ identities: [web.app] }', ''],
  ['{ unauthenticatedTLS: true }', ''],
  ['{ meshTLS: { unauthenticated: true } }', ''],
  ['{ meshTLS: [{ name: web }] }', ''],
  ['{ meshTLS: { name: web } }', ''],
  ['{ serviceAccounts: [{ name: web }] }', `web from ${CLUSTER}`],
  ['{ meshTLS: {}, serviceAccounts: [{ name: web }] }', `web from ${CLUSTER}`],
  ['{ meshTLS: { serviceAccounts: [{ name: web }] } }', `web from ${CLUSTER}`],
  ['{ meshTLS: { serviceAccounts: [{ name: bot }] }, serviceAccounts: [{ name: web }] }', `bot web from ${CLUSTER}`],
  ['{ meshTLS: { serviceAccounts: [] }, serviceAccounts: [{ name: web }] }', `web from ${CLUSTER}`],
  ['{ meshTLS: { identities: ["*"] } }', `*. from ${CLUSTER}`],
  ['{ meshTLS: { identities: ["*"], serviceAccounts: [{ name: web }] } }', `*. web from ${CLUSTER}`],
  ['{ meshTLS: { identities: [""] } }', ''],
  ['{ meshTLS: { identities: "*" } }', ''],
  ['{ meshTLS: { unauthenticatedTLS: true } }', `tls from ${CLUSTER}`],
  ['{ unauthenticated: true }', `unauthenticated from ${CLUSTER}`],
  // Contradictions.
  ['{ unauthenticated: true, serviceAccounts: [{ name: web }] }', ''],
  ['{ unauthenticated: true, meshTLS: { serviceAccounts: [{ name: web }] } }', ''],
  ['{ unauthenticated: true, meshTLS: {} }', ''],
  ['{ meshTLS: { unauthenticatedTLS: true }, serviceAccounts: [{ name: web }] }', ''],
  ['{ meshTLS: { unauthenticatedTLS: true, identities: ["*"] } }', ''],
  // Restrictions in a wrong place.
  ['{ unauthenticated: true, networks: [{ cidr: 10.1.0.0/16 }] }', 'unauthenticated from 10.1.0.0/16'],
  ['{ meshTLS: { serviceAccounts: [{ name: web }], networks: [{ cidr: 10.1.0.0/16 }] } }', ''],
  ['{ unauthenticated: true, network: [{ cidr: 10.1.0.0/16 }] }', ''],
  ['{ unauthenticated: true, cidr: 10.1.0.0/16 }', ''],
  ['{ unauthenticated: true, networks: { cidr: 10.1.0.0/16 } }', ''],
  ['{ unauthenticated: true, networks: [10.1.0.0/16] }', ''],
  ['{ unauthenticated: true, networks: [{ cidr: }] }', ''],
  ['{ unauthenticated: true, networks: [{ cidr: 10.1.0.0/16 }], except: [10.1.2.0/24] }', ''],
  ['{ unauthenticated: true, networks: [{ cidr: 10.1.0.0/16 }, { except: [10.1.2.0/24] }] }', ''],
  ['{ serviceAccounts: [{ name: web }], namespace: other }', ''],
  ['{ meshTLS: { serviceAccounts: [{ name: web }], namespace: other } }', ''],
];

test('the clients of a ServerAuthorization are those that it names, or nobody', () => {
  for (const [text, expected] of CLIENTS) {
    const spec = { server: { name: 'emoji-grpc' }, client: parse(text) };
    assert.equal(letsIn(SERVER, { ...PRINTED_AUTHORIZATION, metadata: METADATA, spec }), expected, text);
  }
});

const SERVERS: [spec: string, isMeant: boolean][] = [
  ['server: { name: emoji-grpc }', true],
  ['server: { name: other }', false],
  ['server: { name: "" }', false],
  ['server: {}', false],
  ['server:', false],
  ['server: { selector: }', false],
  ['server: { selector: {} }', true],
  ['server: { selector: { matchLabels: {} } }', true],
  ['server: { selector: { matchLabels: } }', false],
  ['server: { selector: { matchExpressions: } }', false],
  ['server: { selector: { matchLabels: , app-kind: internal } }', true],
  ['server: { selector: { matchLabels: , app-kind: external } }', false],
  ['server: { selector: { matchLabels: { app-kind: internal } } }', true],
  ['server: { selector: { matchLabels: { app-kind: internal }, tier: x } }', false],
  ['server: { selector: { matchLabel: { app-kind: internal } } }', false],
  ['server: { selector: [{ app-kind: internal }] }', false],
  ['server: { selector: app-kind=internal }', false],
  ['server: { selector: , app-kind: internal }', false],
  ['server: { selector: {}, app-kind: external }', false],
  ['server: { matchLabels: { app-kind: internal } }', false],
  ['server: { name: emoji-grpc, selector: { app-kind: internal } }', false],
  ['{ server: , selector: { app-kind: internal } }', false],
  ['{ server: , name: emoji-grpc }', false],
  ['{ server: { name: emoji-grpc }, networks: [{ cidr: 10.1.0.0/16 }] }', false],
  ['{ server: { name: emoji-grpc, networks: [{ cidr: 10.1.0.0/16 }] } }', false],
];

test('the Servers of a ServerAuthorization are those that it names, or none', () => {
  for (const [text, isMeant] of SERVERS) {
    const spec = { client: { unauthenticated: true }, ...parse(text) };
    const object = { ...PRINTED_AUTHORIZATION, metadata: METADATA, spec };
    assert.equal(letsIn(SERVER, object) !== '', isMeant, text);
  }
  const beside = parse('{ spec: { server: { name: emoji-grpc }, client: { unauthenticated: true } }, networks: [] }');
  assert.equal(letsIn(SERVER, { ...PRINTED_AUTHORIZATION, metadata: METADATA, ...beside }), '');
});

const GROUP = 'policy.linkerd.io';

const object = (kind: string, name: string, spec: unknown, namespace = 'emojiivoto'): KubeObject => ({
  apiVersion: `${GROUP}/v1alpha1`,
  kind,
  metadata: { namespace, name },
  spec,
});
const MESH = `{ group: ${GROUP}, kind: MeshTLSAuthentication, name: mesh }`;
const NETWORK = `{ group: ${GROUP}, kind: NetworkAuthentication, name: network }`;
const ACCOUNT = '{ kind: ServiceAccount, name: web }';
const ON_SERVER = `targetRef: { group: ${GROUP}, kind: Server, name: emoji-grpc }`;

const POLICIES: [spec: string, expected: string][] = [
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [] }`, `unauthenticated from ${EVERYWHERE}`],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${ACCOUNT}] }`, `web from ${EVERYWHERE}`],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${MESH}, ${NETWORK}] }`, 'bot from 10.1.0.0/16 except 10.1.2.0'],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${NETWORK}] }`, 'unauthenticated from 10.1.0.0/16 except 10.1.2.0'],
  [
    `{ targetRef: { kind: Namespace, name: emojiivoto }, requiredAuthenticationRefs: [${ACCOUNT}] }`,
    `web from ${EVERYWHERE}`,
  ],
  [`{ ${ON_SERVER} }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: {} }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: ${ACCOUNT} }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [{}] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [null] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [[${ACCOUNT}]] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${MESH}, ${MESH}] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${MESH}, ${ACCOUNT}] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${NETWORK}, ${NETWORK}] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [${ACCOUNT}, { kind: Pod, name: web }] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [{ kind: Pod, name: web }] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [{ kind: MeshTLSAuthentication, name: mesh }] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [{ kind: ServiceAccount }, { name: web }] }`, ''],
  [
    `{ ${ON_SERVER}, requiredAuthenticationRefs: [${NETWORK}, { group: ${GROUP}, kind: MeshTLSAuthentication, name: none }] }`,
    '',
  ],
  [
    `{ ${ON_SERVER}, requiredAuthenticationRefs: [{ group: ${GROUP}, kind: MeshTLSAuthentication, name: mesh, namespace: other }] }`,
    `*. from ${EVERYWHERE}`,
  ],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [], networks: [{ cidr: 10.1.0.0/16 }] }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [], kind: ServiceAccount, name: web }`, ''],
  [`{ ${ON_SERVER}, requiredAuthenticationRefs: [{ kind: ServiceAccount, name: web, networks: [] }] }`, ''],
  [
    `{ targetRef: { group: ${GROUP}, kind: Server, name: emoji-grpc, requiredAuthenticationRefs: [${ACCOUNT}] }, requiredAuthenticationRefs: [] }`,
    '',
  ],
  [`{ targetRef: , group: ${GROUP}, kind: Server, name: emoji-grpc, requiredAuthenticationRefs: [] }`, ''],
  ['{ targetRef: { kind: Server, name: emoji-grpc }, requiredAuthenticationRefs: [] }', ''],
  ['{ targetRef: { kind: Namespace, name: other }, requiredAuthenticationRefs: [] }', ''],
  ['{ targetRef: {}, requiredAuthenticationRefs: [] }', ''],
  ['{ requiredAuthenticationRefs: [] }', ''],
];

test('an AuthorizationPolicy lets in who meets all that it asks for, or nobody', () => {
  const mesh = object('MeshTLSAuthentication', 'mesh', { identityRefs: [{ kind: 'ServiceAccount', name: 'bot' }] });
  const elsewhere = object('MeshTLSAuthentication', 'mesh', { identities: ['*'] }, 'other');
  const network = object('NetworkAuthentication', 'network', {
    networks: [{ cidr: '10.1.0.0/16', except: ['10.1.2.0/24'] }],
  });
  for (const [text, expected] of POLICIES) {
    const policy = object('AuthorizationPolicy', 'x', parse(text));
    assert.equal(letsIn(SERVER, mesh, elsewhere, network, policy), expected, text);
  }
});

const ASKED: [kind: string, spec: string, expected: string][] = [
  ['MeshTLSAuthentication', '{ identities: ["*"] }', `*. from ${EVERYWHERE}`],
  ['MeshTLSAuthentication', '{ identities: }', ''],
  ['MeshTLSAuthentication', '{ identities: [] }', ''],
  ['MeshTLSAuthentication', '{ identities: "*" }', ''],
  ['MeshTLSAuthentication', '{ identities: [web.x, ""] }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: [] }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: [{}] }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: [{ kind: ServiceAccount }] }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: [{ kind: Namespace }] }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: { kind: ServiceAccount, name: web } }', ''],
  ['MeshTLSAuthentication', '{ identityRefs: [{ kind: ServiceAccount, name: web }], namespace: other }', ''],
  ['MeshTLSAuthentication', '{ identities: ["*"], identityRefs: [{ kind: ServiceAccount, name: web }] }', ''],
  ['MeshTLSAuthentication', '{ serviceAccounts: [{ name: web }] }', ''],
  ['MeshTLSAuthentication', '{ identities: ["*"], networks: [{ cidr: 10.1.0.0/16 }] }', ''],
  ['MeshTLSAuthentication', '{}', ''],
  ['MeshTLSAuthentication', '', ''],
  ['NetworkAuthentication', '{ networks: [{ cidr: 10.1.0.0/16 }] }', 'unauthenticated from 10.1.0.0/16'],
  ['NetworkAuthentication', '{ networks: }', ''],
  ['NetworkAuthentication', '{ networks: [] }', ''],
  ['NetworkAuthentication', '{ networks: [{}] }', ''],
  ['NetworkAuthentication', '{ networks: { cidr: 10.1.0.0/16 } }', ''],
  ['NetworkAuthentication', '{ networks: [10.1.0.0/16] }', ''],
  ['NetworkAuthentication', '{ cidr: 10.1.0.0/16 }', ''],
  ['NetworkAuthentication', '{ networks: [{ cidr: 10.1.0.0/16 }, { except: [10.1.2.0/24] }] }', ''],
  ['NetworkAuthentication', '{ networks: [{ cidr: 10.1.0.0/16 }], except: [10.1.2.0/24] }', ''],
  ['NetworkAuthentication', '{ networks: [{ cidr: 10.1.0.0/16, except: 10.1.2.0/24 }] }', ''],
  ['NetworkAuthentication', '{ networks: [{ cidr: 10.1.0.0/16, excepts: [10.1.2.0/24] }] }', ''],
  ['NetworkAuthentication', '{}', ''],
];

test('an authentication that cannot be read is met by nobody', () => {
  for (const [kind, text, expected] of ASKED) {
    const policy = object('AuthorizationPolicy', 'x', {
      ...parse(`{ ${ON_SERVER} }`),
      requiredAuthenticationRefs: [{ group: GROUP, kind, name: 'asked' }],
    });
    assert.equal(letsIn(SERVER, policy, object(kind, 'asked', parse(text))), expected, `${kind} ${text}`);
  }
});

const SPECS: [spec: string, expected: string][] = [
  [
    '{ podSelector: { matchLabels: { app: emoji } }, port: grpc, accessPolicy: all-unauthenticated }',
    `unauthenticated from ${EVERYWHERE}`,
  ],
  ['{ podSelector: { matchLabels: { app: emoji } }, port: grpc }', ''],
  ['{ podSelector: { app: emoji }, port: grpc, accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: , matchLabels: { app: emoji }, port: grpc, accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: {}, matchLabels: { app: web }, port: grpc, accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: {}, port: , accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: {}, accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: {}, port: grpc, accessPolicy: { all-unauthenticated: } }', ''],
  ['{ podSelector: { port: grpc }, accessPolicy: all-unauthenticated }', ''],
  ['{ podSelector: {}, externalWorkloadSelector: {}, port: grpc, accessPolicy: all-unauthenticated }', ''],
  ['{ matchLabels: { app: emoji }, port: grpc, accessPolicy: all-unauthenticated }', ''],
  ['{}', ''],
];

test('a Server that cannot be read lets nobody in', () => {
  for (const [text, expected] of SPECS) {
    const server = { ...SERVER, apiVersion: `${GROUP}/v1beta3`, spec: parse(text) };
    assert.equal(letsIn(server), expected, text);
  }
});
