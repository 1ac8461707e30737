/** For tests: the whole control plane in this process, on free ports of loopback, with clients of its services. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Destination } from '@tulle/api/gen/destination_pb.ts';
import { Identity } from '@tulle/api/gen/identity_pb.ts';
import { InboundServerPolicies } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies } from '@tulle/api/gen/outbound_pb.ts';
import { parseConfig } from '../config.ts';
import { type Context, startContext } from '../context.ts';
import { createLoggers } from '../logger.ts';
import { type FakeKubernetes, startFakeKubernetes } from './fake-kubernetes.ts';

export interface TestControlPlane {
  kubernetes: FakeKubernetes;
  context: Context;
  identity: Client<typeof Identity>;
  destination: Client<typeof Destination>;
  inbound: Client<typeof InboundServerPolicies>;
  outbound: Client<typeof OutboundPolicies>;
}

/** `prepare` fills the API before the control plane starts. */
export async function startTestControlPlane(
  t: TestContext,
  options: { prepare?: (kubernetes: FakeKubernetes) => void; flags?: string[]; components?: string } = {},
): Promise<TestControlPlane> {
  const kubernetes = await startFakeKubernetes(t);
  options.prepare?.(kubernetes);
  const kubeconfig = writeKubeconfig(t, kubernetes.url);
  const addresses = ['identity', 'destination', 'policy', 'admin'].map((name) => `--${name}-addr=127.0.0.1:0`);
  const config = parseConfig(
    [
      `--components=${options.components ?? 'identity,destination,policy'}`,
      ...addresses,
      `--kubeconfig=${kubeconfig}`,
      '--identity-issuer-path=',
      '--identity-trust-anchors-path=',
      '--log-level=silent',
      ...(options.flags ?? []),
    ],
    {},
  );
  const loggers = createLoggers({ level: config.logLevel, format: config.logFormat });
  const context = await startContext(config, loggers, new AbortController().signal);
  t.after(() => {
    clientsOf(t).abort();
    return context[Symbol.asyncDispose]();
  });
  const client = <T extends DescService>(service: T, name: string): Client<T> => {
    const baseUrl = `http://127.0.0.1:${context.ports[name] ?? 1}`;
    return createClient(service, createGrpcTransport({ baseUrl, idleConnectionTimeoutMs: 500 }));
  };
  return {
    kubernetes,
    context,
    identity: client(Identity, 'identity'),
    destination: client(Destination, 'destination'),
    inbound: client(InboundServerPolicies, 'policy'),
    outbound: client(OutboundPolicies, 'policy'),
  };
}

/** The path of a kubeconfig that lasts as long as the test. */
export function writeKubeconfig(t: TestContext, server: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-control-plane-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'fake', cluster: { server } }],
    users: [{ name: 'fake', user: {} }],
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake', namespace: 'linkerd' } }],
    'current-context': 'fake',
  };
  const path = join(folder, 'kubeconfig');
  writeFileSync(path, JSON.stringify(config));
  return path;
}

/** A stream read message by message; it ends with the test, before the control plane. */
export function readStream<T>(t: TestContext, open: (signal: AbortSignal) => AsyncIterable<T>): () => Promise<T> {
  const iterator = open(clientsOf(t).signal)[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await iterator.next();
    if (done) throw new Error('the stream has ended');
    return value;
  };
}

const clients = new WeakMap<TestContext, AbortController>();

function clientsOf(t: TestContext): AbortController {
  const known = clients.get(t) ?? new AbortController();
  clients.set(t, known);
  return known;
}
