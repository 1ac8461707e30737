/** What every namespace is given: the ServiceAccount `default` and the cluster's root certificate. */

import {
  CONFIG_MAPS,
  type ConfigMap,
  MeshError,
  NAMESPACES,
  type Namespace,
  SERVICE_ACCOUNTS,
  type ServiceAccount,
} from '@tulle/api';
import type { ControllerContext } from './controller-context.ts';

const ROOT_CA = 'kube-root-ca.crt';
const DESCRIPTION = {
  'kubernetes.io/description':
    'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the ' +
    'internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes ' +
    'clusters.',
};

export function startServiceAccountController(context: ControllerContext): void {
  const namespaces = context.collection<Namespace>(NAMESPACES);
  const accounts = context.collection<ServiceAccount>(SERVICE_ACCOUNTS);
  const configMaps = context.collection<ConfigMap>(CONFIG_MAPS);
  const queue = context.queue('service-account', sync);
  namespaces.subscribe(({ object }) => queue.add(object.metadata.name));
  accounts.subscribe(({ object, isDeleted }) => {
    if (isDeleted && object.metadata.name === 'default') queue.add(object.metadata.namespace ?? '');
  });
  configMaps.subscribe(({ object }) => {
    if (object.metadata.name === ROOT_CA) queue.add(object.metadata.namespace ?? '');
  });

  async function sync(namespace: string): Promise<void> {
    const present = namespaces.get(namespace);
    if (!present || present.metadata.deletionTimestamp) return;
    if (!accounts.get(`${namespace}/default`)) await createOnce(accounts, { metadata: { name: 'default', namespace } });
    const data = { 'ca.crt': context.client.config.caPem ?? '' };
    const configMap = configMaps.get(`${namespace}/${ROOT_CA}`);
    if (!configMap) {
      const metadata = { name: ROOT_CA, namespace, annotations: DESCRIPTION };
      await createOnce(configMaps, { metadata, data });
    } else if (configMap.data?.['ca.crt'] !== data['ca.crt'] || Object.keys(configMap.data).length !== 1) {
      await configMaps.update({ ...configMap, data });
    }
  }
}

async function createOnce(
  collection: { create(object: { metadata: object }): Promise<unknown> },
  object: { metadata: object; data?: object },
): Promise<void> {
  try {
    await collection.create(object);
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'ALREADY_EXISTS') throw error;
  }
}
