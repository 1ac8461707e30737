/**
 * Pod logs and port-forwarding, passed on to the agent of the pod's node. The agent serves plain HTTP inside the cluster at
 * the node's InternalIP and `status.daemonEndpoints.kubeletEndpoint.Port`; the token that the API server shows it is its own.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Entry } from '../store/stored-object.ts';
import type { ApiContext, ApiRequest } from './context.ts';
import { badRequest, failure, notFound } from './status.ts';

/** A node that does not answer by then counts as gone. */
const CONNECT_TIMEOUT_MS = 10_000;

/** How to reach the agent of a node; undefined where the node is not known or not ready to be asked. */
export type NodeDialer = (nodeName: string) => { host: string; port: number } | { socketPath: string } | undefined;

export function dialByNodeStatus(context: Pick<ApiContext, 'store'>): NodeDialer {
  return (nodeName) => {
    const status = context.store.get('nodes', nodeName)?.object.status;
    const host = status?.addresses?.find((address: { type: string }) => address.type === 'InternalIP')?.address;
    const port = status?.daemonEndpoints?.kubeletEndpoint?.Port;
    return host === undefined || port === undefined ? undefined : { host, port };
  };
}

function targetOf(pod: Entry, dial: NodeDialer) {
  const node = pod.object.spec.nodeName;
  if (!node) throw badRequest(`pod ${pod.name} does not have a host assigned`);
  const target = dial(node);
  if (target === undefined)
    throw failure(503, 'ServiceUnavailable', `the node ${node} of pod ${pod.name} has no address yet`);
  return target;
}

const LOG_OPTIONS = ['follow', 'tailLines', 'sinceSeconds', 'sinceTime', 'previous', 'timestamps', 'limitBytes'];

export async function handleLog(request: ApiRequest, pod: Entry, dial: NodeDialer): Promise<void> {
  const { info, outgoing, context } = request;
  const { spec } = pod.object;
  const containers: string[] = [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(
    (container) => container.name,
  );
  let container = info.query.get('container') ?? '';
  if (container === '') {
    container =
      spec.containers.length === 1
        ? spec.containers[0].name
        : (pod.object.metadata.annotations?.['kubectl.kubernetes.io/default-container'] ?? '');
    if (container === '') {
      const main = spec.containers.map((c: { name: string }) => c.name).join(' ');
      const init = (spec.initContainers ?? []).map((c: { name: string }) => c.name).join(' ');
      throw badRequest(
        `a container name must be specified for pod ${pod.name}, choose one of: [${main}]${init === '' ? '' : ` or one of the init containers: [${init}]`}`,
      );
    }
  }
  if (!containers.includes(container)) throw badRequest(`container ${container} is not valid for pod ${pod.name}`);
  const statuses = [
    ...(pod.object.status?.containerStatuses ?? []),
    ...(pod.object.status?.initContainerStatuses ?? []),
  ];
  const status = statuses.find((s: { name: string }) => s.name === container);
  const waiting = status?.state?.waiting;
  if (
    info.query.get('previous') !== 'true' &&
    (status === undefined ||
      (waiting !== undefined && (status.restartCount ?? 0) === 0 && status.lastState?.terminated === undefined))
  ) {
    const reason = waiting?.reason ?? (spec.nodeName ? 'ContainerCreating' : '');
    if (!spec.nodeName) throw badRequest(`pod ${pod.name} does not have a host assigned`);
    throw badRequest(`container "${container}" in pod "${pod.name}" is waiting to start: ${reason}`);
  }
  const query = new URLSearchParams();
  for (const option of LOG_OPTIONS) if (info.query.has(option)) query.set(option, info.query.get(option)!);
  const path = `/containerLogs/${pod.namespace}/${pod.name}/${container}?${query}`;
  const upstream = await openUpstream(targetOf(pod, dial), path, {});
  const { response } = upstream;
  if (response.statusCode !== 200) {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString().slice(0, 1024).trim();
    if (response.statusCode === 404) throw notFound({ group: '', plural: 'pods' }, pod.name);
    throw response.statusCode === 400
      ? badRequest(text)
      : failure(500, 'InternalError', `the node answered ${response.statusCode}: ${text}`);
  }
  outgoing.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-cache, private' });
  outgoing.flushHeaders();
  const end = () => response.destroy();
  context.signal.addEventListener('abort', end, { once: true });
  outgoing.on('close', () => {
    context.signal.removeEventListener('abort', end);
    response.destroy();
  });
  response.on('error', () => outgoing.end());
  response.pipe(outgoing);
}

function openUpstream(
  target: ReturnType<typeof targetOf>,
  path: string,
  headers: Record<string, string>,
): Promise<{ response: IncomingMessage; request: ClientRequest }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...target, path, headers, agent: false, timeout: CONNECT_TIMEOUT_MS });
    request.on('response', (response) => {
      request.setTimeout(0);
      resolve({ response, request });
    });
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', (error) =>
      reject(failure(500, 'InternalError', `Internal error occurred: error dialing the node: ${error.message}`)),
    );
    request.end();
  });
}

/**
 * Passes a WebSocket upgrade through, bytes as they are: the agent speaks v4.channel.k8s.io (or portforward.k8s.io by SPDY
 * tunnel, where it wants) with the client itself.
 */
export function forwardUpgrade(
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  pod: Entry,
  ports: string[],
  dial: NodeDialer,
): Promise<void> {
  const target = targetOf(pod, dial);
  const query = new URLSearchParams(ports.map((port): [string, string] => ['port', port]));
  const path = `/portForward/${pod.namespace}/${pod.name}?${query}`;
  const passed = [
    'sec-websocket-key',
    'sec-websocket-version',
    'sec-websocket-protocol',
    'sec-websocket-extensions',
    'origin',
  ];
  const headers: Record<string, string> = { connection: 'Upgrade', upgrade: 'websocket' };
  for (const name of passed) if (incoming.headers[name] !== undefined) headers[name] = String(incoming.headers[name]);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...target, path, headers, agent: false, timeout: CONNECT_TIMEOUT_MS });
    const fail = (message: string) =>
      reject(failure(500, 'InternalError', `Internal error occurred: error dialing the node: ${message}`));
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', (error) => fail(error.message));
    request.on('response', (response) => {
      response.resume();
      fail(`it answered ${response.statusCode}`);
    });
    request.on('upgrade', (response, upstream, upstreamHead) => {
      request.setTimeout(0);
      const lines = [`HTTP/1.1 101 Switching Protocols`];
      for (let i = 0; i < response.rawHeaders.length; i += 2)
        lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
      socket.write(`${lines.join('\r\n')}\r\n\r\n`);
      if (upstreamHead.length > 0) socket.write(upstreamHead);
      if (head.length > 0) upstream.write(head);
      socket.on('error', () => upstream.destroy());
      upstream.on('error', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
      upstream.on('close', () => socket.destroy());
      socket.pipe(upstream);
      upstream.pipe(socket);
      resolve();
    });
    request.end();
  });
}
