/** `diagnostics proxy-metrics` and `controller-metrics`: pages of metrics as they are, each after the pod that it is from. */
import { createHash } from 'node:crypto';
import { MeshError, type Pod } from '@tulle/api';
import { type Client, getFromPod } from '@tulle/client';
import { type GlobalOptions, withClient } from '../globals.ts';
import { adminPort, isAlive, isMeshed, listPods } from '../mesh/mesh-pods.ts';
import { namedPods } from '../mesh/named-objects.ts';

interface Page {
  pod: Pod;
  container: string;
  port: number;
}

/** Labels that name something of the user's. */
const NAMING_LABEL =
  /(?<=[{,])((?:dst_|parent_|route_|backend_|srv_|authz_)?(?:pod|namespace|name|authority|deployment|daemonset|statefulset|replicaset|replicationcontroller|job|cronjob|service|serviceaccount|addr|hostname|control_plane_ns)|target_addr|target_ip|client_id|server_id|sni)="((?:[^"\\]|\\.)*)"/g;
const HASH_CHARACTERS = 8;

export async function printProxyMetrics(
  words: string[],
  globals: GlobalOptions,
  options: { obfuscate?: boolean },
): Promise<void> {
  await withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const pods = await namedPods(client, words, namespace);
    const pages = pods.filter(isMeshed).map((pod) => ({ pod, container: 'linkerd-proxy', port: adminPort(pod) }));
    if (!pages.length)
      throw new MeshError('NOT_FOUND', `no pods with a proxy found for ${words.join(' ')} in namespace ${namespace}`);
    await printPages(client, pages, options.obfuscate ? obfuscate : (text) => text);
  });
}

export async function printControllerMetrics(globals: GlobalOptions): Promise<void> {
  await withClient(globals, async (client) => {
    const pods = (await listPods(client, globals.linkerdNamespace)).filter(isAlive);
    const pages = pods.flatMap((pod) =>
      (pod.spec?.containers ?? []).flatMap(({ name, ports }) =>
        (ports ?? [])
          .filter((port) => name !== 'linkerd-proxy' && (port.name === 'admin-http' || port.name?.endsWith('-admin')))
          .map(({ containerPort }) => ({ pod, container: name, port: containerPort })),
      ),
    );
    if (!pages.length)
      throw new MeshError('NOT_FOUND', `no control plane found in namespace ${globals.linkerdNamespace}`);
    await printPages(client, pages, (text) => text);
  });
}

async function printPages(client: Client, pages: readonly Page[], change: (text: string) => string): Promise<void> {
  for (const [i, { pod, container, port }] of pages.entries()) {
    const { name, namespace = '' } = pod.metadata;
    const head = change === obfuscate ? hash(name) : name;
    process.stdout.write(`#\n# POD ${head} (${i + 1} of ${pages.length})\n# CONTAINER ${container}\n#\n`);
    try {
      const text = await getFromPod(client, { namespace, pod: name, port, path: '/metrics' });
      process.stdout.write(change(text.endsWith('\n') ? text : `${text}\n`));
    } catch (error) {
      process.stdout.write(`# ERROR ${MeshError.from(error).message}\n`);
      process.exitCode = 1;
    }
  }
}

export function obfuscate(text: string): string {
  return text.replace(NAMING_LABEL, (_, label: string, value: string) => `${label}="${hash(value)}"`);
}

const hash = (value: string) => createHash('sha256').update(value).digest('hex').slice(0, HASH_CHARACTERS);
