/** Pods of the mesh, and which of them belong to a resource. */
import { type KubeObject, type LabelSelector, PODS, type Pod } from '@tulle/api';
import { type Client, matchesLabels, matchesSelector } from '@tulle/client';
import type { ResourceType } from './resource.ts';

export async function listPods(client: Client, namespace?: string): Promise<Pod[]> {
  return (await client.list<Pod>(PODS, namespace ? { namespace } : {})).items;
}

export function proxyContainer({ spec }: Pod) {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find(({ name }) => name === 'linkerd-proxy');
}

export const isMeshed = (pod: Pod): boolean => proxyContainer(pod) !== undefined;

/** One that has ended serves nothing and is not counted. */
export const isAlive = ({ status }: Pod): boolean => status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

export function adminPort(pod: Pod): number {
  return proxyContainer(pod)?.ports?.find(({ name }) => name === 'linkerd-admin')?.containerPort ?? 4191;
}

/** The identity that the pod's proxy asks for, in full. */
export function identityOf(pod: Pod): string {
  const value = (name: string, fallback: string) =>
    proxyContainer(pod)?.env?.find((variable) => variable.name === name)?.value ?? fallback;
  const account = pod.spec?.serviceAccountName ?? 'default';
  const domain = value('_l5d_trustdomain', 'cluster.local');
  return `${account}.${pod.metadata.namespace}.serviceaccount.identity.${value('_l5d_ns', 'linkerd')}.${domain}`;
}

/** The workload that the pod's metrics go by, as the injector has labelled it. */
export function workloadOf({ metadata }: Pod): { kind: string; name: string } {
  for (const [key, name] of Object.entries(metadata.labels ?? {})) {
    if (key.startsWith('linkerd.io/proxy-')) return { kind: key.slice('linkerd.io/proxy-'.length), name };
  }
  return { kind: 'pod', name: metadata.name };
}

/** Whether the pod is one of the object's. */
export function belongsTo(pod: Pod, type: ResourceType, object: KubeObject): boolean {
  const { name, namespace } = object.metadata;
  if (type.label === 'namespace') return pod.metadata.namespace === name;
  if (pod.metadata.namespace !== namespace) return false;
  switch (type.label) {
    case 'pod':
      return pod.metadata.name === name;
    case 'service': {
      const selector = object.spec?.selector as Record<string, string> | undefined;
      return selector !== undefined && matchesLabels(selector, pod.metadata.labels);
    }
    case 'replicationcontroller':
      return matchesLabels(object.spec?.selector ?? { '': '' }, pod.metadata.labels);
    case 'cronjob':
      return pod.metadata.labels?.['linkerd.io/proxy-cronjob'] === name;
    default:
      return matchesSelector(object.spec?.selector as LabelSelector | undefined, pod.metadata.labels);
  }
}
