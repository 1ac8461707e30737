/** `tulle explain`: what is asked for, in words; reads the cluster as the control plane does, and shows what it makes of a request. */
import { lookup } from 'node:dns/promises';
import { MeshError, PODS, type Pod, SERVICES } from '@tulle/api';
import { canonicalIp, parseIp } from '@tulle/api/ip-address.ts';
import type { Client } from '@tulle/client';
import { identityName } from '@tulle/control-plane/workloads/mesh-names.ts';
import { type GlobalOptions, withClient } from '../globals.ts';
import { parseResource } from '../mesh/resource.ts';
import { outputFormat } from '../output/documents.ts';
import { explanationText } from '../output/explanation.ts';
import { type ClusterView, readClusterView } from './cluster-view.ts';
import { type Caller, type ExplainedTarget, explain } from './explanation.ts';

export interface ExplainOptions {
  port?: string;
  from?: string;
  header?: string[];
  output?: string;
}

export async function explainRequest(words: string[], globals: GlobalOptions, options: ExplainOptions): Promise<void> {
  const format = outputFormat(options.output, ['text', 'json']);
  const [word = '', method = 'GET', ...rest] = words;
  const { host, port: ofHost, path: ofUrl } = parseHost(word) ?? {};
  const path = rest[0] ?? ofUrl ?? '/';
  const isGiven = words.length > 1 || ofUrl !== undefined;
  if (!/^[A-Za-z]+$/.test(method)) throw new MeshError('INVALID_ARGUMENT', `"${method}" is not a method, such as GET`);
  if (!path.startsWith('/')) throw new MeshError('INVALID_ARGUMENT', `"${path}": a path starts with a slash`);
  const port = options.port === undefined ? ofHost : parsePort(options.port);
  const headers = Object.fromEntries((options.header ?? []).map(parseHeader));
  const explanation = await withClient(globals, async (client) => {
    const home = globals.namespace ?? client.config.namespace;
    const [view, target] = await Promise.all([
      readClusterView(client, globals.linkerdNamespace),
      findTarget(client, word, home, host),
    ]);
    const request = { isGiven, method: method.toUpperCase(), path, headers };
    const caller = findCaller(view, options.from, home);
    return explain(view, { target, request, caller, ...(port === undefined ? {} : { port }) });
  });
  process.stdout.write(format === 'json' ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation));
}

export interface ParsedHost {
  host: string;
  port?: number;
  /** Of a URL that has one. */
  path?: string;
}

/** An address or a name with dots, by itself, with a port or as a URL; undefined for anything else. */
export function parseHost(word: string): ParsedHost | undefined {
  if (parseIp(word)) return { host: canonicalIp(word) };
  const [, scheme, name = '', port, path] =
    /^(?:(https?):\/\/)?(\[[^\]]+\]|[^/:[\]]+)(?::(\d+))?(\/.*)?$/i.exec(word) ?? [];
  const isUrl = scheme !== undefined;
  const bare = name.replace(/^\[(.*)\]$/, '$1');
  const isHost = parseIp(bare) !== undefined || (bare.includes('.') && bare === name);
  if (!isHost || (path !== undefined && !isUrl)) return undefined;
  const ofScheme = scheme?.toLowerCase() === 'https' ? 443 : isUrl ? 80 : undefined;
  return {
    host: parseIp(bare) ? canonicalIp(bare) : bare.toLowerCase(),
    port: port === undefined ? ofScheme : parsePort(port),
    path,
  };
}

/** `svc/web`, `po/web-1`, `egressnetwork/all`; a name, of a Service, else of a pod; or a host, found by DNS from here. */
async function findTarget(
  client: Client,
  word: string,
  namespace: string,
  host: string | undefined,
): Promise<ExplainedTarget> {
  if (host !== undefined && parseIp(host)) return { kind: 'Address', ip: host };
  if (host === undefined && word.includes('/')) return parseTarget(word, namespace);
  const [, service, inNamespace] = /^([^.]+)\.([^.]+)\.svc(?:\.|$)/.exec(host ?? '') ?? [];
  if (service && inNamespace) return { kind: 'Service', namespace: inNamespace, name: service };
  // A pod may have a name with dots.
  for (const kind of host === undefined || host === word ? [SERVICES, PODS] : []) {
    const found = await client.get<Pod>(kind, word, namespace).catch((cause) => {
      if (MeshError.from(cause).code === 'NOT_FOUND') return undefined;
      throw cause;
    });
    if (found) return { kind: kind === PODS ? 'Pod' : 'Service', namespace, name: word };
  }
  if (host !== undefined) return { kind: 'Address', ip: await resolveHost(host), host };
  throw new MeshError('NOT_FOUND', `there is no Service and no pod ${namespace}/${word}`);
}

export function parseTarget(word: string, namespace: string): ExplainedTarget {
  const [, network] = /^egressnetworks?\/(.+)$/i.exec(word) ?? [];
  if (network !== undefined) return { kind: 'EgressNetwork', namespace, name: network };
  const { label, name } = parseResource(word);
  if (name && label === 'service') return { kind: 'Service', namespace, name };
  if (name && label === 'pod') return { kind: 'Pod', namespace, name };
  throw new MeshError('INVALID_ARGUMENT', `"${word}": want svc/NAME, po/NAME, egressnetwork/NAME or an address`);
}

/** As clients would, if they ask the same servers. */
async function resolveHost(host: string): Promise<string> {
  try {
    return canonicalIp((await lookup(host)).address);
  } catch (cause) {
    const why = `find the address of ${host}: ${MeshError.from(cause).message}; give one, and the name by -H 'host: ${host}'`;
    throw new MeshError('NOT_FOUND', why, { cause });
  }
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
