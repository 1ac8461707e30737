/** Service accounts and permissions of the control plane. One process holds all roles, each bound under Linkerd's own name. */
import type { KubeObject } from '@tulle/api';

const RBAC = 'rbac.authorization.k8s.io';
const READ = ['get', 'list', 'watch'];

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

const rule = (apiGroups: string[], resources: string[], verbs: string[]): Rule => ({ apiGroups, resources, verbs });

export function rbacObjects(namespace: string, labels: Record<string, string>): KubeObject[] {
  const clusterRoles: [name: string, component: string, rules: Rule[]][] = [
    [
      `linkerd-${namespace}-identity`,
      'identity',
      [
        rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
        rule([''], ['serviceaccounts'], ['get']),
        rule([''], ['events'], ['create', 'patch']),
      ],
    ],
    [
      `linkerd-${namespace}-destination`,
      'destination',
      [
        rule(['apps'], ['replicasets', 'deployments', 'statefulsets', 'daemonsets'], READ),
        rule(['batch'], ['jobs', 'cronjobs'], READ),
        rule([''], ['pods', 'endpoints', 'services', 'nodes', 'namespaces', 'replicationcontrollers'], READ),
        rule(['discovery.k8s.io'], ['endpointslices'], READ),
      ],
    ],
    [
      `linkerd-${namespace}-proxy-injector`,
      'proxy-injector',
      [
        rule([''], ['events'], ['create', 'patch']),
        rule([''], ['namespaces', 'replicationcontrollers', 'pods'], READ),
        rule(['apps'], ['deployments', 'replicasets', 'daemonsets', 'statefulsets'], READ),
        rule(['batch'], ['cronjobs', 'jobs'], READ),
      ],
    ],
    [
      'linkerd-policy',
      'destination',
      [
        rule([''], ['pods', 'services', 'namespaces', 'nodes'], READ),
        rule(['apps'], ['deployments'], ['get']),
        rule(['batch'], ['jobs'], READ),
      ],
    ],
  ];
  const account = (component: string) => ({
    kind: 'ServiceAccount',
    name: `linkerd-${component}`,
    namespace,
  });
  // The one pod runs as linkerd-destination; the other accounts keep the rights that their names stand for.
  const subjects = (component: string) => [
    account('destination'),
    ...(component === 'destination' ? [] : [account(component)]),
  ];
  const componentLabels = (component: string) => ({ ...labels, 'linkerd.io/control-plane-component': component });

  return [
    ...['identity', 'destination', 'proxy-injector'].map((component) => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: `linkerd-${component}`, namespace, labels: componentLabels(component) },
    })),
    ...clusterRoles.flatMap(([name, component, rules]) => [
      {
        apiVersion: `${RBAC}/v1`,
        kind: 'ClusterRole',
        metadata: { name, labels: componentLabels(component) },
        rules,
      },
      {
        apiVersion: `${RBAC}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: {
          name: name === 'linkerd-policy' ? 'linkerd-destination-policy' : name,
          labels: componentLabels(component),
        },
        roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name },
        subjects: subjects(component),
      },
    ]),
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'Role',
      metadata: { name: 'linkerd-control-plane', namespace, labels: componentLabels('destination') },
      rules: [
        rule([''], ['configmaps', 'secrets'], READ),
        rule(['coordination.k8s.io'], ['leases'], ['get', 'list', 'watch', 'create', 'update', 'patch']),
      ],
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'linkerd-control-plane', namespace, labels: componentLabels('destination') },
      roleRef: { apiGroup: RBAC, kind: 'Role', name: 'linkerd-control-plane' },
      subjects: [account('destination')],
    },
  ];
}
