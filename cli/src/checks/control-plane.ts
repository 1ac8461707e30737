/** linkerd-existence, linkerd-config and linkerd-ha-checks: whether what `tulle install` prints is there and runs. */
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  type Deployment,
  type Kind,
  type KubeObject,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  NODES,
  type Node,
  PODS,
  type Pod,
  REPLICA_SETS,
  type ReplicaSet,
  SERVICE_ACCOUNTS,
  SERVICES,
  type Service,
  VALIDATING_WEBHOOK_CONFIGURATIONS,
} from '@tulle/api';
import { WEBHOOKS } from '../install/webhooks.ts';
import type { Category, Check } from './check.ts';
import { Skip } from './check.ts';
import { type CheckContext, fail, failIfAny } from './context.ts';
import { definitionsExist } from './definitions.ts';
import { exists } from './kubernetes.ts';
import { containsAddress, containsNetwork, parseNetworks } from './networks.ts';

export const linkerdExistence: Category = {
  name: 'linkerd-existence',
  checks: [
    {
      description: "'linkerd-config' config map exists",
      anchor: 'l5d-existence-linkerd-config',
      isFatal: true,
      async run(context) {
        await context.get(CONFIG_MAPS, 'linkerd-config', context.settings.controlPlaneNamespace);
        await context.values();
      },
    },
    {
      description: 'control plane replica sets are ready',
      anchor: 'l5d-existence-replicasets',
      isFatal: true,
      isRetried: true,
      async run(context) {
        const sets = await context.list<ReplicaSet>(REPLICA_SETS, inControlPlane(context));
        const wanted = sets.filter(({ spec }) => (spec?.replicas ?? 1) > 0);
        if (!wanted.length) fail('no control plane replica sets found');
        failIfAny(
          wanted.flatMap(({ metadata, spec, status }) => {
            const [want = 1, have = 0] = [spec?.replicas, status?.readyReplicas];
            return have === want
              ? []
              : [`number of ready replicas (${have}) of ${metadata.name} is not the wanted ${want}`];
          }),
          'some control plane replica sets are not ready',
        );
      },
    },
    {
      description: 'no unschedulable pods',
      anchor: 'l5d-existence-unschedulable-pods',
      isWarning: true,
      isRetried: true,
      async run(context) {
        const stuck = (await context.controlPlanePods()).flatMap(({ metadata, status }) => {
          const condition = status?.conditions?.find(
            ({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable',
          );
          return condition ? [`${metadata.name}: ${condition.message ?? 'unschedulable'}`] : [];
        });
        failIfAny(stuck, 'pods are not scheduled');
      },
    },
    {
      description: 'control plane pods are ready',
      anchor: 'l5d-api-control-ready',
      isFatal: true,
      isRetried: true,
      async run(context) {
        const pods = (await context.controlPlanePods()).filter(isWanted);
        if (!pods.some(({ metadata }) => metadata.labels?.['linkerd.io/control-plane-component'] === 'destination')) {
          fail('No running pods for "linkerd-destination"');
        }
        failIfAny(pods.flatMap(notReady), 'some control plane pods are not ready');
      },
    },
    networkCheck(
      'cluster networks contains all node podCIDRs',
      'l5d-cluster-networks-cidr',
      async (context, networks) => {
        const nodes = await context.list<Node>(NODES);
        return nodes.flatMap(({ metadata, spec }) =>
          (spec?.podCIDRs ?? [])
            .filter((cidr) => !containsNetwork(networks, cidr))
            .map((cidr) => `${metadata.name}: ${cidr}`),
        );
      },
    ),
    networkCheck('cluster networks contains all pods', 'l5d-cluster-networks-pods', async (context, networks) => {
      const pods = (await context.list<Pod>(PODS)).filter(({ spec }) => !spec?.hostNetwork);
      return pods.flatMap(({ metadata, status }) =>
        (status?.podIPs ?? [])
          .filter(({ ip }) => ip && !containsAddress(networks, ip))
          .map(({ ip }) => `${metadata.namespace}/${metadata.name}: ${ip}`),
      );
    }),
    networkCheck('cluster networks contains all services', 'l5d-cluster-networks-pods', async (context, networks) => {
      const services = await context.list<Service>(SERVICES);
      return services.flatMap(({ metadata, spec }) =>
        (spec?.clusterIPs ?? [])
          .filter((ip) => ip !== 'None' && ip !== '' && !containsAddress(networks, ip))
          .map((ip) => `${metadata.namespace}/${metadata.name}: ${ip}`),
      );
    }),
  ],
};

export const linkerdConfig: Category = {
  name: 'linkerd-config',
  checks: [
    existence('control plane Namespace exists', 'l5d-existence-ns', NAMESPACES, (ns) => [ns], false),
    existence('control plane ClusterRoles exist', 'l5d-existence-cr', CLUSTER_ROLES, rolesOf, false),
    existence('control plane ClusterRoleBindings exist', 'l5d-existence-crb', CLUSTER_ROLE_BINDINGS, rolesOf, false),
    existence(
      'control plane ServiceAccounts exist',
      'l5d-existence-sa',
      SERVICE_ACCOUNTS,
      () => ['linkerd-destination', 'linkerd-identity', 'linkerd-proxy-injector'],
      true,
    ),
    definitionsExist,
    existence(
      'control plane MutatingWebhookConfigurations exist',
      'l5d-existence-mwc',
      MUTATING_WEBHOOK_CONFIGURATIONS,
      () => webhookConfigurationNames('MutatingWebhookConfiguration'),
      false,
    ),
    existence(
      'control plane ValidatingWebhookConfigurations exist',
      'l5d-existence-vwc',
      VALIDATING_WEBHOOK_CONFIGURATIONS,
      () => webhookConfigurationNames('ValidatingWebhookConfiguration'),
      false,
    ),
    {
      description: 'proxy-init container runs as root user if docker container runtime is used',
      anchor: 'l5d-proxy-init-run-as-root',
      async run(context) {
        if ((await context.values()).proxyInit.runAsRoot) return;
        const docker = (await context.list<Node>(NODES)).filter(({ status }) =>
          status?.nodeInfo?.containerRuntimeVersion?.startsWith('docker'),
        );
        failIfAny(
          docker.map(({ metadata }) => metadata.name),
          'there are nodes using the docker container runtime and proxy-init container must run as root user (set proxyInit.runAsRoot=true)',
        );
      },
    },
  ],
};

export const linkerdHaChecks: Category = {
  name: 'linkerd-ha-checks',
  checks: [
    {
      description: 'multiple replicas of control plane pods',
      anchor: 'l5d-control-plane-replicas',
      isWarning: true,
      isRetried: true,
      async run(context) {
        if (!(await context.values()).highAvailability) throw new Skip();
        const deployments = await context.list<Deployment>(DEPLOYMENTS, inControlPlane(context));
        failIfAny(
          deployments.flatMap(({ metadata, status }) => ((status?.availableReplicas ?? 0) > 1 ? [] : [metadata.name])),
          'not enough replicas available for',
        );
      },
    },
  ],
};

const inControlPlane = (context: CheckContext) => ({
  namespace: context.settings.controlPlaneNamespace,
  labelSelector: 'linkerd.io/control-plane-component',
});

function rolesOf(namespace: string): string[] {
  return [`linkerd-${namespace}-identity`, `linkerd-${namespace}-proxy-injector`];
}

function webhookConfigurationNames(kind: string): string[] {
  return WEBHOOKS.filter(({ configuration }) => configuration.kind === kind).map(
    ({ configuration }) => configuration.name,
  );
}

/** A pod that has ended or is going is none that has to be ready. */
export const isWanted = ({ metadata, status }: Pod): boolean =>
  !metadata.deletionTimestamp && status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

/** One line for each container of a pod that is not ready. */
export function notReady({ metadata, status }: Pod): string[] {
  const where = `pod "${metadata.name}"`;
  if (status?.phase !== 'Running') return [`${where} status is ${status?.phase ?? 'unknown'}`];
  const containers = status.containerStatuses ?? [];
  return containers.filter(({ ready }) => !ready).map(({ name }) => `${where} container "${name}" is not ready`);
}

function existence(
  description: string,
  anchor: string,
  kind: Kind,
  names: (namespace: string) => string[],
  isNamespaced: boolean,
): Check {
  return {
    description,
    anchor,
    isFatal: true,
    async run(context) {
      const namespace = context.settings.controlPlaneNamespace;
      const missing: string[] = [];
      for (const name of names(namespace)) {
        const found = context.get<KubeObject>(kind, name, isNamespaced ? namespace : undefined);
        if (!(await exists(found))) missing.push(name);
      }
      if (missing.length) fail(`missing ${kind.kind}s: ${missing.join(', ')}`);
    },
  };
}

function networkCheck(
  description: string,
  anchor: string,
  outside: (context: CheckContext, networks: ReturnType<typeof parseNetworks>) => Promise<string[]>,
): Check {
  return {
    description,
    anchor,
    async run(context) {
      const { clusterNetworks } = await context.values();
      const found = await outside(context, parseNetworks(clusterNetworks));
      failIfAny(found, `the clusterNetworks ["${clusterNetworks}"] do not include`);
    },
  };
}
