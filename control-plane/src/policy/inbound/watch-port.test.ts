import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  AUTHORIZATION_POLICIES,
  EXTERNAL_WORKLOADS,
  MESH_TLS_AUTHENTICATIONS,
  NAMESPACES,
  PODS,
  SERVER_AUTHORIZATIONS,
  SERVERS,
} from '@tulle/api';
import type { Server } from '@tulle/api/gen/inbound_pb.ts';
import { readStream, startTestControlPlane } from '../../testing/control-plane.ts';
import type { FakeKubernetes } from '../../testing/fake-kubernetes.ts';
import { namespace, pod } from '../../testing/objects.ts';
import { policy, server } from '../../testing/policies.ts';
import { INBOUND_KINDS } from './inbound-index.ts';

const SPEC = { workload: JSON.stringify({ ns: 'app', pod: 'web' }), port: 8080 };
const WEB = pod('web', { isMeshed: true, labels: { app: 'web' } });

const start = (t: TestContext, more: (kubernetes: FakeKubernetes) => void = () => undefined) =>
  startTestControlPlane(t, {
    components: 'policy',
    prepare(kubernetes) {
      for (const kind of [...INBOUND_KINDS, EXTERNAL_WORKLOADS]) kubernetes.serve(kind);
      kubernetes.put(PODS, WEB);
      more(kubernetes);
    },
  });

const nameOf = ({ labels, authorizations }: Server) =>
  [labels.name, ...authorizations.map((each) => each.labels.name)].join(' ');

test('sends every change of what decides on a port, and nothing for changes elsewhere', async (t) => {
  const { inbound, kubernetes } = await start(t);
  const next = readStream(t, (signal) => inbound.watchPort(SPEC, { signal }));
  const targetRef = { group: 'policy.linkerd.io', kind: 'Server', name: 'http' };
  const authentication = { group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name: 'bots' };
  const put = async (...args: Parameters<FakeKubernetes['put']>) => {
    kubernetes.put(...args);
    return nameOf(await next());
  };
  assert.equal(nameOf(await next()), 'all-unauthenticated all-unauthenticated');
  assert.equal(await put(SERVERS, server('http')), 'http');
  const byName = { server: { name: 'http' }, client: { unauthenticated: true } };
  assert.equal(await put(SERVER_AUTHORIZATIONS, policy(SERVER_AUTHORIZATIONS, 'all', byName)), 'http all');
  // Not a message: it is for another pod's Server, and the policy asks for what does not exist yet.
  kubernetes.put(SERVERS, server('other', { podSelector: { matchLabels: { app: 'other' } } }));
  const required = { targetRef, requiredAuthenticationRefs: [authentication] };
  kubernetes.put(AUTHORIZATION_POLICIES, policy(AUTHORIZATION_POLICIES, 'bots', required));
  const bots = policy(MESH_TLS_AUTHENTICATIONS, 'bots', { identities: ['*'] });
  assert.equal(await put(MESH_TLS_AUTHENTICATIONS, bots), 'http all bots');
  kubernetes.remove(MESH_TLS_AUTHENTICATIONS, bots);
  assert.equal(nameOf(await next()), 'http all');
  assert.equal(await put(SERVERS, server('http', { port: 0 })), 'http');
  assert.equal(await put(SERVERS, server('http')), 'http all');
  kubernetes.remove(SERVERS, server('http'));
  assert.equal(nameOf(await next()), 'all-unauthenticated all-unauthenticated');
});

test('answers a workload outside the cluster, and follows its namespace', async (t) => {
  const spec = { meshTLS: { identity: 'spiffe://td/vm', serverName: 'vm.example' }, ports: [{ port: 8080 }] };
  const vm = policy(EXTERNAL_WORKLOADS, 'vm', spec);
  const { inbound, kubernetes } = await start(t, (fake) => {
    fake.put(NAMESPACES, namespace('app'));
    fake.put(EXTERNAL_WORKLOADS, vm);
  });
  const workload = JSON.stringify({ ns: 'app', external_workload: 'vm' });
  const next = readStream(t, (signal) => inbound.watchPort({ workload, port: 8080 }, { signal }));
  assert.equal(nameOf(await next()), 'all-unauthenticated all-unauthenticated');
  kubernetes.put(NAMESPACES, namespace('app', { 'config.linkerd.io/default-inbound-policy': 'deny' }));
  assert.equal(nameOf(await next()), 'deny');
  kubernetes.put(
    SERVERS,
    server('vm', { podSelector: undefined, externalWorkloadSelector: {}, accessPolicy: 'audit' }),
  );
  assert.equal(nameOf(await next()), 'vm audit');
  assert.equal(nameOf(await inbound.getPort({ workload, port: 8080 })), 'vm audit');
  kubernetes.remove(EXTERNAL_WORKLOADS, vm);
  await assert.rejects(next(), (error) => ConnectError.from(error).code === Code.NotFound);
});

test('knows every policy before the first answer', async (t) => {
  const { inbound } = await start(t, (fake) => fake.put(SERVERS, server('http')));
  assert.equal(nameOf(await inbound.getPort(SPEC)), 'http');
});
