/** The pods that the end-to-end tests talk through, as Kubernetes objects, and the way to tell an agent what to call. */

import http from 'node:http';
import { MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { LoadReport } from '../app/load.ts';

export const PORTS = { http: 8080, grpc: 8081, echo: 7001, greeter: 7002 } as const;
const AGENT_PORT = 9900;

export interface PeerOptions {
  name: string;
  namespace: string;
  role: 'server' | 'agent';
  replicas?: number;
  isMeshed?: boolean;
  env?: Record<string, string>;
  annotations?: Record<string, string>;
  serviceAccountName?: string;
}

export function namespaceManifest(name: string, annotations: Record<string, string> = {}) {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations } };
}

/** A Deployment of one role with its ServiceAccount, and a Service when it is a server. */
export function peerManifests(options: PeerOptions): Record<string, unknown>[] {
  const { name, namespace, role, replicas = 1, isMeshed = true, env = {}, serviceAccountName = name } = options;
  const opaquePorts = `${PORTS.echo},${PORTS.greeter}`;
  const annotations = {
    'linkerd.io/inject': isMeshed ? 'enabled' : 'disabled',
    ...(role === 'server' ? { 'config.linkerd.io/opaque-ports': opaquePorts } : {}),
    ...options.annotations,
  };
  const ports = role === 'server' ? Object.entries(PORTS) : [];
  const serviceAccount = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: serviceAccountName, namespace },
  };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name }, annotations },
        spec: {
          serviceAccountName,
          terminationGracePeriodSeconds: 20,
          containers: [
            {
              name: 'app',
              image: 'tulle/test:0.1.0',
              args: [role],
              env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
              ports: ports.map(([portName, containerPort]) => ({ name: portName, containerPort })),
              ...(role === 'server'
                ? { readinessProbe: { httpGet: { path: '/', port: PORTS.http }, periodSeconds: 1 } }
                : { readinessProbe: { exec: { command: ['/bin/true'] }, periodSeconds: 1 } }),
            },
          ],
        },
      },
    },
  };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations: { 'config.linkerd.io/opaque-ports': opaquePorts } },
    spec: {
      selector: { app: name },
      ports: ports.map(([portName, port]) => ({ name: portName, port, targetPort: port })),
    },
  };
  return role === 'server' ? [serviceAccount, deployment, service] : [serviceAccount, deployment];
}

/** Tells the agent in a pod to make a call; its error is the error here. */
export class Agent {
  readonly #client: Client;
  readonly namespace: string;
  readonly pod: string;

  constructor(client: Client, namespace: string, pod: string) {
    this.#client = client;
    this.namespace = namespace;
    this.pod = pod;
  }

  async run<T = any>(call: string, args: object): Promise<T> {
    const stream = await this.#client.portForward(this.namespace, this.pod, AGENT_PORT);
    return new Promise((resolve, reject) => {
      const body = JSON.stringify({ call, ...args });
      const request = http.request(
        {
          method: 'POST',
          path: '/run',
          headers: { host: 'agent', 'content-length': Buffer.byteLength(body), connection: 'close' },
          createConnection: () => stream as any,
        },
        async (response) => {
          try {
            const chunks: Buffer[] = [];
            for await (const chunk of response) chunks.push(chunk as Buffer);
            const text = Buffer.concat(chunks).toString('utf8');
            if (response.statusCode === 200) resolve(JSON.parse(text) as T);
            else reject(new MeshError('UNKNOWN', `${call} from ${this.namespace}/${this.pod}: ${text}`));
          } catch (error) {
            reject(error);
          } finally {
            stream.destroy();
          }
        },
      );
      request.on('error', (error) => {
        stream.destroy();
        reject(error);
      });
      request.end(body);
    });
  }

  load(args: object): Promise<{ http?: LoadReport; grpc?: LoadReport }> {
    return this.run('load', args);
  }
}
