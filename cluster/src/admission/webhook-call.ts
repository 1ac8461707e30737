/** One call of a webhook over HTTPS, by URL or to a ready endpoint of its Service. */
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { MeshError } from '@tulle/api';
import type { Store } from '../store/store.ts';
import type { Fields } from '../store/stored-object.ts';

/** Answers are patches of one object; more than this is a fault. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

interface Target {
  host: string;
  port: number;
  path: string;
  serverName: string;
}

export async function callWebhook(
  clientConfig: Fields,
  review: unknown,
  timeoutMs: number,
  store: Store,
): Promise<Fields> {
  const target =
    clientConfig.url !== undefined ? urlTarget(clientConfig.url) : serviceTarget(clientConfig.service, store);
  const ca = clientConfig.caBundle ? Buffer.from(clientConfig.caBundle, 'base64').toString() : undefined;
  const path = `${target.path}${target.path.includes('?') ? '&' : '?'}timeout=${Math.round(timeoutMs / 1000)}s`;
  const where = `Post "https://${target.serverName}:${target.port}${path}"`;
  const body = Buffer.from(JSON.stringify(review));
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (why: string) => reject(new MeshError('UNAVAILABLE', `${where}: ${why}`));
    const request = httpsRequest(
      {
        host: target.host,
        port: target.port,
        path,
        method: 'POST',
        ...(isIP(target.serverName) === 0 ? { servername: target.serverName } : {}),
        ...(ca === undefined ? {} : { ca }),
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          'content-length': body.length,
          host: target.serverName,
        },
        agent: false,
        signal,
      },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > ANSWER_BYTES_MAX) request.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', (error) => fail(error.message));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (response.statusCode !== 200) return fail(`it answered ${response.statusCode}: ${text.slice(0, 256)}`);
          try {
            resolve(JSON.parse(text));
          } catch (error) {
            fail(`its answer is not JSON: ${(error as Error).message}`);
          }
        });
      },
    );
    request.on('error', (error) => fail(signal.aborted ? 'context deadline exceeded' : error.message));
    request.end(body);
  });
}

function urlTarget(text: string): Target {
  const url = new URL(text);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { host, port: Number(url.port || 443), path: url.pathname + url.search, serverName: host };
}

/** A ready endpoint, dialled directly: the API server needs no Service proxy of its own. */
function serviceTarget(service: Fields, store: Store): Target {
  const { namespace, name, path = '/', port: wanted = 443 } = service;
  const object = store.get('services', `${namespace}/${name}`)?.object;
  if (object === undefined) throw new MeshError('NOT_FOUND', `service "${name}" not found`);
  const servicePort = (object.spec.ports ?? []).find((port: Fields) => port.port === wanted);
  if (servicePort === undefined)
    throw new MeshError('NOT_FOUND', `no service port ${wanted} found for service "${name}"`);
  const slices = store
    .list('endpointslices.discovery.k8s.io', namespace)
    .filter(
      (entry) =>
        entry.object.metadata.labels?.['kubernetes.io/service-name'] === name && entry.object.addressType !== 'FQDN',
    );
  const ready: { host: string; port: number }[] = [];
  for (const { object: slice } of slices) {
    const port = (slice.ports ?? []).find((p: Fields) => (p.name ?? '') === (servicePort.name ?? ''))?.port;
    if (port === undefined) continue;
    for (const endpoint of slice.endpoints ?? [])
      if (endpoint.conditions?.ready !== false) ready.push({ host: endpoint.addresses[0], port });
  }
  const chosen = ready[Math.floor(Math.random() * ready.length)];
  if (chosen === undefined) throw new MeshError('UNAVAILABLE', `no endpoints available for service "${name}"`);
  return { ...chosen, path, serverName: `${name}.${namespace}.svc` };
}
