/** `tulle explain`: reads the cluster as the control plane does, and shows what it makes of a request. */
import { MeshError, PODS, type Pod, SERVICES } from '@tulle/api';
import type { Client } from '@tulle/client';
import { identityName } from '@tulle/control-plane/workloads/mesh-names.ts';
import { type GlobalOptions, withClient } from '../globals.ts';
import { parseResource } from '../mesh/resource.ts';
import { outputFormat } from '../output/documents.ts';
import { explanationText } from '../output/explanation.ts';
import { type ClusterView, readClusterView } from './cluster-view.ts';
import { type Caller, explain, type Query } from './explanation.ts';

export interface ExplainOptions {
  port?: string;
  from?: string;
  header?: string[];
  output?: string;
}

export async function explainRequest(words: string[], globals: GlobalOptions, options: ExplainOptions): Promise<void> {
  const format = outputFormat(options.output, ['text', 'json']);
  const [word = '', method = 'GET', path = '/'] = words;
  const isGiven = words.length > 1;
  if (!/^[A-Za-z]+$/.test(method)) throw new MeshError('INVALID_ARGUMENT', `"${method}" is not a method, such as GET`);
  if (!path.startsWith('/')) throw new MeshError('INVALID_ARGUMENT', `"${path}": a path starts with a slash`);
  const port = options.port === undefined ? undefined : parsePort(options.port);
  const headers = Object.fromEntries((options.header ?? []).map(parseHeader));
  const explanation = await withClient(globals, async (client) => {
    const home = globals.namespace ?? client.config.namespace;
    const [view, target] = await Promise.all([
      readClusterView(client, globals.linkerdNamespace),
      findTarget(client, word, home),
    ]);
    const request = { isGiven, method: method.toUpperCase(), path, headers };
    const caller = findCaller(view, options.from, home);
    return explain(view, { target, request, caller, ...(port === undefined ? {} : { port }) });
  });
  process.stdout.write(format === 'json' ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation));
}

/** `svc/web`, `po/web-1`, or a name: of a Service, else of a pod. */
async function findTarget(client: Client, word: string, namespace: string): Promise<Query['target']> {
  if (word.includes('/')) {
    const { label, name } = parseResource(word);
    if (!name || (label !== 'service' && label !== 'pod')) {
      throw new MeshError('INVALID_ARGUMENT', `"${word}": want svc/NAME or po/NAME`);
    }
    return { kind: label === 'pod' ? 'Pod' : 'Service', namespace, name };
  }
  for (const kind of [SERVICES, PODS]) {
    const found = await client.get<Pod>(kind, word, namespace).catch((cause) => {
      if (MeshError.from(cause).code === 'NOT_FOUND') return undefined;
      throw cause;
    });
    if (found) return { kind: kind === PODS ? 'Pod' : 'Service', namespace, name: word };
  }
  throw new MeshError('NOT_FOUND', `there is no Service and no pod ${namespace}/${word}`);
}

/** A namespace, `po/NAME`, or `sa/NAME`; names of another namespace as `po/NAMESPACE/NAME`. */
export function findCaller(view: ClusterView, word: string | undefined, home: string): Caller {
  if (word === undefined) return { namespace: home, text: `some client in namespace ${home}` };
  const [type = '', ...rest] = word.split('/');
  if (rest.length === 0) {
    if (!view.workloads.namespace(word)) throw new MeshError('NOT_FOUND', `--from ${word}: there is no such namespace`);
    return { namespace: word, text: `some client in namespace ${word}` };
  }
  const [namespace, name] = rest.length === 1 ? [home, rest[0]!] : [rest[0]!, rest[1]!];
  const account = (of: string) => ({ namespace, name: of });
  const identity = (of: string) => identityName(of, namespace, view.mesh);
  if (type === 'sa' || type === 'serviceaccount') {
    const ip = view.podOfAccount(account(name))?.ips[0];
    const text = `ServiceAccount ${namespace}/${name}`;
    return { namespace, identity: identity(name), isMeshed: true, text, ...(ip ? { ip } : {}) };
  }
  if (type !== 'po' && type !== 'pod') {
    throw new MeshError('INVALID_ARGUMENT', `--from ${word}: want a namespace, po/NAME or sa/NAME`);
  }
  const pod = view.workloads.pod(`${namespace}/${name}`);
  if (!pod) throw new MeshError('NOT_FOUND', `--from ${word}: there is no pod ${namespace}/${name}`);
  const isMeshed = pod.proxyPorts !== undefined;
  const ip = pod.ips[0];
  return {
    namespace,
    isMeshed,
    text: isMeshed ? `pod ${pod.key} as ServiceAccount ${pod.serviceAccount}` : `pod ${pod.key}, which has no proxy`,
    ...(isMeshed ? { identity: identity(pod.serviceAccount) } : {}),
    ...(ip ? { ip } : {}),
  };
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65535) return port;
  throw new MeshError('INVALID_ARGUMENT', `--port ${text}: not a port`);
}

function parseHeader(text: string): [string, string] {
  const colon = text.indexOf(':');
  if (colon < 1) throw new MeshError('INVALID_ARGUMENT', `--header ${text}: want 'name: value'`);
  return [text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim()];
}
