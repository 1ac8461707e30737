/** kubernetes-api, kubernetes-version and, before an installation, pre-kubernetes-setup. */
import { MeshError, NAMESPACES, NODES, type Node, SELF_SUBJECT_ACCESS_REVIEWS } from '@tulle/api';
import type { Category, Check } from './check.ts';
import { type CheckContext, fail, failIfAny } from './context.ts';

/** The oldest whose native sidecars, on by default, are stable enough for Linkerd's charts too. */
const VERSION_MIN = [1, 31, 0];
/** A kubelet renews its condition every 5 min at the latest. */
const HEARTBEAT_MS_MAX = 310_000;

export const kubernetesApi: Category = {
  name: 'kubernetes-api',
  checks: [
    {
      description: 'can initialize the client',
      anchor: 'k8s-api',
      isFatal: true,
      run: async (context) => void (await context.client()),
    },
    {
      description: 'can query the Kubernetes API',
      anchor: 'k8s-api',
      isFatal: true,
      run: async (context) => void (await context.json('/version')),
    },
  ],
};

export const kubernetesVersion: Category = {
  name: 'kubernetes-version',
  checks: [
    {
      description: 'is running the minimum Kubernetes API version',
      anchor: 'k8s-version',
      async run(context) {
        const { gitVersion } = await context.json<{ gitVersion: string }>('/version');
        const found = /^v?(\d+)\.(\d+)\.(\d+)/.exec(gitVersion)?.slice(1).map(Number);
        if (!found) fail(`cannot read the version ${JSON.stringify(gitVersion)}`);
        const order = VERSION_MIN.map((least, i) => found[i]! - least).find((difference) => difference !== 0) ?? 0;
        if (order < 0)
          fail(
            `Kubernetes is on version [${found.join('.')}], but version [${VERSION_MIN.join('.')}] or more recent is required`,
          );
      },
    },
  ],
};

export const preKubernetesSetup: Category = {
  name: 'pre-kubernetes-setup',
  checks: [
    {
      description: 'control plane namespace does not already exist',
      anchor: 'pre-ns',
      async run(context) {
        const name = context.settings.controlPlaneNamespace;
        if (await exists(context.get(NAMESPACES, name))) fail(`The "${name}" namespace already exists`);
      },
    },
    {
      description: 'can create non-namespaced resources',
      anchor: 'pre-k8s-cluster-k8s',
      async run(context) {
        const wanted: [string, string][] = [
          ['', 'namespaces'],
          ['rbac.authorization.k8s.io', 'clusterroles'],
          ['rbac.authorization.k8s.io', 'clusterrolebindings'],
          ['apiextensions.k8s.io', 'customresourcedefinitions'],
          ['admissionregistration.k8s.io', 'mutatingwebhookconfigurations'],
          ['admissionregistration.k8s.io', 'validatingwebhookconfigurations'],
        ];
        const refused: string[] = [];
        for (const [group, resource] of wanted) {
          if (!(await isAllowed(context, 'create', group, resource))) refused.push(`cannot create ${resource}`);
        }
        failIfAny(refused, 'missing permissions');
      },
    },
    mayDo('create', '', 'serviceaccounts', 'can create ServiceAccounts'),
    mayDo('create', '', 'services', 'can create Services'),
    mayDo('create', 'apps', 'deployments', 'can create Deployments'),
    mayDo('create', '', 'configmaps', 'can create ConfigMaps'),
    mayDo('create', '', 'secrets', 'can create Secrets'),
    mayDo('get', '', 'secrets', 'can read Secrets'),
    {
      description: 'no clock skew detected',
      anchor: 'pre-k8s-clock-skew',
      isWarning: true,
      async run(context) {
        const nodes = await context.list<Node>(NODES);
        const skewed = nodes.flatMap(({ metadata, status }) => {
          const heartbeat = status?.conditions?.find(({ type }) => type === 'Ready')?.lastHeartbeatTime;
          if (!heartbeat) return [];
          const ageMs = context.nowMs() - new Date(String(heartbeat)).getTime();
          return Math.abs(ageMs) > HEARTBEAT_MS_MAX ? [`${metadata.name}: ${Math.round(ageMs / 1000)}s`] : [];
        });
        failIfAny(skewed, 'clock skew detected for node(s)');
      },
    },
  ],
};

function mayDo(verb: string, group: string, resource: string, description: string): Check {
  return {
    description,
    anchor: 'pre-k8s',
    async run(context) {
      if (!(await isAllowed(context, verb, group, resource))) fail(`not authorized to ${verb} ${resource}`);
    },
  };
}

async function isAllowed(context: CheckContext, verb: string, group: string, resource: string): Promise<boolean> {
  const namespace = context.settings.controlPlaneNamespace;
  const client = await context.client();
  const review = await client.create<{ status?: { allowed?: boolean } }>(SELF_SUBJECT_ACCESS_REVIEWS, {
    apiVersion: SELF_SUBJECT_ACCESS_REVIEWS.apiVersion,
    kind: SELF_SUBJECT_ACCESS_REVIEWS.kind,
    metadata: {},
    spec: { resourceAttributes: { namespace, verb, group, resource } },
  });
  return review.status?.allowed === true;
}

export async function exists(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (error) {
    if (MeshError.from(error).code === 'NOT_FOUND') return false;
    throw error;
  }
}
