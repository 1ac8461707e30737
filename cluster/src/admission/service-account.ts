/** Gives pods their service account and the volume with its token, the cluster's CA and the namespace; plus default tolerations and priority. */
import { forbidden } from '../apiserver/status.ts';
import { generateName } from '../apiserver/write.ts';
import type { Store } from '../store/store.ts';
import type { Fields } from '../store/stored-object.ts';
import type { AdmissionStep } from './admission.ts';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Tokens of pods live an hour and are renewed by the node; the extra seconds are what real clusters ask for. */
const TOKEN_EXPIRATION_S = 3607;
const NOT_READY_TOLERATION_S = 300;

export function createServiceAccountAdmission(store: Store): AdmissionStep {
  return {
    mutate: ({ operation, resource, subresource, namespace, name, object }) => {
      if (operation !== 'CREATE' || resource.storage !== 'pods' || subresource !== '' || object === undefined)
        return object;
      const pod = structuredClone(object);
      const { spec } = pod;
      spec.serviceAccountName ||= 'default';
      spec.serviceAccount = spec.serviceAccountName;
      const account = store.get('serviceaccounts', `${namespace}/${spec.serviceAccountName}`)?.object;
      if (account === undefined) {
        throw forbidden(
          resource,
          name,
          `error looking up service account ${namespace}/${spec.serviceAccountName}: serviceaccount "${spec.serviceAccountName}" not found`,
        );
      }
      if ((spec.imagePullSecrets ?? []).length === 0 && (account.imagePullSecrets ?? []).length > 0)
        spec.imagePullSecrets = account.imagePullSecrets;
      if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(spec);
      addTolerations(spec);
      addPriority(spec, store);
      return pod;
    },
  };
}

function mountToken(spec: Fields): void {
  const containers: Fields[] = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const needing = containers.filter(
    (container) => !(container.volumeMounts ?? []).some((mount: Fields) => mount.mountPath === MOUNT_PATH),
  );
  if (needing.length === 0) return;
  const present = (spec.volumes ?? []).find((volume: Fields) => volume.name?.startsWith('kube-api-access-'));
  const volumeName = present?.name ?? generateName('kube-api-access-');
  for (const container of needing) {
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: volumeName, readOnly: true, mountPath: MOUNT_PATH },
    ];
  }
  if (present !== undefined) return;
  const volume = {
    name: volumeName,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_EXPIRATION_S } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    },
  };
  spec.volumes = [...(spec.volumes ?? []), volume];
}

function addTolerations(spec: Fields): void {
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const tolerations: Fields[] = spec.tolerations ?? [];
    const isTolerated = tolerations.some((t) => (!t.key || t.key === key) && (!t.effect || t.effect === 'NoExecute'));
    if (!isTolerated)
      spec.tolerations = [
        ...tolerations,
        { key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: NOT_READY_TOLERATION_S },
      ];
  }
}

function addPriority(spec: Fields, store: Store): void {
  const classes = store.list('priorityclasses.scheduling.k8s.io');
  const found = spec.priorityClassName
    ? classes.find((entry) => entry.name === spec.priorityClassName)
    : classes.find((entry) => entry.object.globalDefault === true);
  if (spec.priorityClassName && found === undefined) {
    throw forbidden(
      { group: '', plural: 'pods' },
      '',
      `no PriorityClass with name ${spec.priorityClassName} was found`,
    );
  }
  if (found !== undefined) spec.priorityClassName = found.name;
  spec.priority = found?.object.value ?? 0;
  spec.preemptionPolicy ??= found?.object.preemptionPolicy ?? 'PreemptLowerPriority';
}
