/** One HTTP/1.1 GET to a port of a pod through the API server's port-forward, so that it works alike on every cluster. */
import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { MeshError } from '@tulle/api';
import type { Client } from './client.ts';

/** A page of metrics of a proxy with thousands of series has a few MiB. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

export interface PodHttpTarget {
  namespace: string;
  pod: string;
  port: number;
  path: string;
}

/** The body of a 200 answer; anything else is an error that names the pod and the path. */
export async function getFromPod(client: Client, target: PodHttpTarget): Promise<string> {
  const { namespace, pod, port, path } = target;
  const doing = `get ${path} of ${namespace}/${pod}:${port}`;
  const stream = await client.portForward(namespace, pod, port, AbortSignal.timeout(TIMEOUT_MS));
  try {
    return await new Promise((resolve, reject) => {
      stream.on('error', reject);
      const request = httpRequest(
        // http wants a Socket and uses only what a Duplex has.
        { path, headers: { host: `${pod}:${port}`, connection: 'close' }, createConnection: () => stream as Socket },
        (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            body += chunk;
            if (body.length > BODY_BYTES_MAX)
              response.destroy(new MeshError('RESOURCE_EXHAUSTED', `${doing}: too large`));
          });
          response.on('error', reject);
          response.on('end', () => {
            if (response.statusCode === 200) resolve(body);
            else
              reject(
                new MeshError('UNAVAILABLE', `${doing}: status ${response.statusCode}: ${body.slice(0, 200).trim()}`),
              );
          });
        },
      );
      request.on('error', reject);
      request.end();
    });
  } catch (error) {
    throw new MeshError('UNAVAILABLE', `${doing}: ${error instanceof Error ? error.message : error}`, { cause: error });
  } finally {
    stream.destroy();
  }
}
