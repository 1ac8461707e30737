/** A node for tests: network, Services, DNS and an agent over a client in memory, in the caller's own namespaces. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type KubeObject, NAMESPACES, PODS } from '@tulle/api';
import { pino } from 'pino';
import { createInterfaces, type NetworkLayout } from '../../network/interfaces.ts';
import { startNetwork } from '../../network/network.ts';
import type { ImageTable } from '../images.ts';
import { startNodeAgent } from '../node-agent.ts';
import { createMemoryClient, type MemoryClient } from './memory-client.ts';
import { podRuntimePath } from './run-inside.ts';

export const NODE = 'node-1';
const LAYOUT: NetworkLayout = {
  nodes: [{ name: NODE, podCidrs: ['10.42.0.0/20', 'fd42::/64'] }],
  serviceCidrs: ['10.96.0.0/16', 'fd96::/112'],
  dnsAddresses: ['10.96.0.10', 'fd96::a'],
};
const IMAGES: ImageTable = {
  sh: { entrypoint: ['/bin/sh'] },
  node: {
    binds: [{ from: process.execPath, to: '/usr/lib/tulle-test/node' }],
    entrypoint: ['/usr/lib/tulle-test/node'],
  },
};

export interface NodeFixture extends AsyncDisposable {
  client: MemoryClient;
  /** `http://ADDRESS:PORT` of the agent. */
  agentUrl: string;
  failed: Promise<never>;
  /** Puts a pod on the node; its status until something holds. */
  run(name: string, spec: object): void;
  until(name: string, isReached: (pod: KubeObject) => boolean): Promise<KubeObject>;
  logs(name: string, query?: string, container?: string): Promise<string>;
  /** Ends the agent, as its crash would, and starts another on the same folder. */
  restart(): Promise<void>;
}

export async function startNodeFixture(): Promise<NodeFixture> {
  await using stack = new AsyncDisposableStack();
  const stateDir = await mkdtemp(join(tmpdir(), 'tulle-node-'));
  stack.defer(() => rm(stateDir, { recursive: true, force: true }).catch(() => {})); // the tmpfs is still mounted
  const client = stack.adopt(createMemoryClient(), (memory) => memory.close());
  const logger = pino({ level: process.env.TULLE_TEST_LOG ?? 'silent' }, pino.destination(2));
  const { signal } = client;
  client.put(NAMESPACES, { metadata: { name: 'default' } });
  await createInterfaces(LAYOUT);
  stack.use(await startNetwork({ client, layout: LAYOUT, clusterDomain: 'cluster.local', signal, logger }));
  const start = () =>
    startNodeAgent({
      client,
      nodeName: NODE,
      zone: 'zone-a',
      podCidrs: LAYOUT.nodes[0]?.podCidrs ?? [],
      images: IMAGES,
      runtimePath: podRuntimePath() ?? '',
      stateDir,
      clusterDomain: 'cluster.local',
      dnsAddress: '10.96.0.10',
      signal,
      logger,
    });
  let agent = await start();
  stack.defer(() => agent[Symbol.asyncDispose]());
  const owned = stack.move();
  return {
    client,
    agentUrl: 'http://10.42.0.1:10250',
    failed: agent.failed,
    run: (name, spec) =>
      void client.put(PODS, {
        metadata: { name },
        spec: { nodeName: NODE, terminationGracePeriodSeconds: 5, ...spec },
      }),
    until: (name, isReached) => client.until(PODS, `default/${name}`, isReached),
    async logs(name, query = '', container = 'main') {
      const response = await fetch(`http://10.42.0.1:10250/containerLogs/default/${name}/${container}${query}`);
      return response.text();
    },
    async restart() {
      await agent[Symbol.asyncDispose]();
      agent = await start();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export const isReady = (pod: KubeObject) =>
  pod.status?.conditions?.some((c: { type: string; status: string }) => c.type === 'Ready' && c.status === 'True') ??
  false;
export const isOver = (pod: KubeObject) => ['Succeeded', 'Failed'].includes(pod.status?.phase);

/** A container that runs a shell script; `more` adds to it. */
export function sh(script: string, more: object = {}) {
  return { name: 'main', image: 'sh', command: ['/bin/sh', '-c', script], ...more };
}

/** A container that runs JavaScript as an ES module. */
export function js(script: string, more: object = {}) {
  return { name: 'main', image: 'node', args: ['--input-type=module', '-e', script], ...more };
}
