/** The roles and bindings that every cluster begins with; made again at each start where they are missing. */
import type { Fields } from '../store/stored-object.ts';

const read = ['get', 'list', 'watch'];
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const all = [...read, ...write];

const rule = (apiGroups: string[], resources: string[], verbs: string[]): Fields => ({ apiGroups, resources, verbs });

const workloads = [
  'daemonsets',
  'deployments',
  'deployments/scale',
  'replicasets',
  'replicasets/scale',
  'statefulsets',
  'statefulsets/scale',
];
const viewRules = [
  rule(
    [''],
    [
      'configmaps',
      'endpoints',
      'pods',
      'serviceaccounts',
      'services',
      'events',
      'namespaces',
      'pods/log',
      'pods/status',
      'services/status',
      'namespaces/status',
    ],
    read,
  ),
  rule(
    ['apps'],
    [
      'controllerrevisions',
      ...workloads,
      'daemonsets/status',
      'deployments/status',
      'replicasets/status',
      'statefulsets/status',
    ],
    read,
  ),
  rule(['batch'], ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'], read),
  rule(['discovery.k8s.io'], ['endpointslices'], read),
  rule(['policy'], ['poddisruptionbudgets', 'poddisruptionbudgets/status'], read),
];
const editRules = [
  rule([''], ['pods/portforward', 'pods/eviction', 'secrets', 'services/proxy'], all),
  rule([''], ['configmaps', 'endpoints', 'events', 'pods', 'secrets', 'serviceaccounts', 'services'], write),
  rule([''], ['serviceaccounts/token'], ['create']),
  rule([''], ['serviceaccounts'], ['impersonate']),
  rule(['apps'], workloads, write),
  rule(['batch'], ['cronjobs', 'jobs'], write),
  rule(['policy'], ['poddisruptionbudgets'], write),
  rule(['coordination.k8s.io'], ['leases'], all),
];
const adminRules = [
  rule(['rbac.authorization.k8s.io'], ['rolebindings', 'roles'], all),
  rule(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
];

interface BootstrapRole {
  rules: Fields[];
  groups?: string[];
  users?: string[];
  accounts?: [namespace: string, name: string][];
}

const roles: Record<string, BootstrapRole> = {
  'cluster-admin': {
    rules: [rule(['*'], ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['*'] }],
    groups: ['system:masters'],
  },
  view: { rules: viewRules },
  edit: { rules: [...viewRules, ...editRules] },
  admin: { rules: [...viewRules, ...editRules, ...adminRules] },
  'system:discovery': {
    rules: [
      {
        nonResourceURLs: [
          '/api',
          '/api/*',
          '/apis',
          '/apis/*',
          '/healthz',
          '/livez',
          '/openapi',
          '/openapi/*',
          '/readyz',
          '/version',
          '/version/',
        ],
        verbs: ['get'],
      },
    ],
    groups: ['system:authenticated'],
  },
  'system:public-info-viewer': {
    rules: [
      {
        nonResourceURLs: ['/healthz', '/livez', '/livez/*', '/readyz', '/readyz/*', '/version', '/version/'],
        verbs: ['get'],
      },
    ],
    groups: ['system:authenticated', 'system:unauthenticated'],
  },
  'system:basic-user': {
    rules: [
      rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
      rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
    ],
    groups: ['system:authenticated'],
  },
  'system:service-account-issuer-discovery': {
    rules: [{ nonResourceURLs: ['/.well-known/openid-configuration', '/openid/v1/jwks'], verbs: ['get'] }],
    groups: ['system:serviceaccounts'],
  },
  'system:auth-delegator': {
    rules: [
      rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    ],
  },
  'system:node': {
    rules: [
      rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      rule(['authorization.k8s.io'], ['localsubjectaccessreviews', 'subjectaccessreviews'], ['create']),
      rule([''], ['services', 'endpoints', 'namespaces', 'configmaps', 'secrets', 'serviceaccounts'], read),
      rule(['discovery.k8s.io'], ['endpointslices'], read),
      rule([''], ['nodes'], ['create', ...read, 'delete', 'patch', 'update']),
      rule([''], ['nodes/status', 'pods/status'], ['get', 'patch', 'update']),
      rule([''], ['pods'], ['create', 'delete', ...read]),
      rule([''], ['pods/eviction', 'serviceaccounts/token'], ['create']),
      rule(['', 'events.k8s.io'], ['events'], ['create', 'patch', 'update']),
      rule(['coordination.k8s.io'], ['leases'], ['create', 'delete', ...read, 'patch', 'update']),
    ],
    groups: ['system:nodes'],
  },
  'system:kube-scheduler': {
    rules: [
      rule(['', 'events.k8s.io'], ['events'], ['create', 'patch', 'update']),
      rule([''], ['nodes', 'namespaces', 'services', 'replicationcontrollers'], read),
      rule([''], ['pods'], ['delete', ...read]),
      rule([''], ['pods/binding', 'bindings'], ['create']),
      rule([''], ['pods/status'], ['patch', 'update']),
      rule(['apps'], ['replicasets', 'statefulsets'], read),
      rule(['policy'], ['poddisruptionbudgets'], read),
      rule(['coordination.k8s.io'], ['leases'], ['create', 'get', 'list', 'update', 'watch']),
    ],
    users: ['system:kube-scheduler'],
  },
  'system:kube-controller-manager': {
    rules: [rule(['*'], ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['get'] }],
    users: ['system:kube-controller-manager'],
  },
  'system:kube-dns': {
    rules: [
      rule([''], ['endpoints', 'services', 'pods', 'namespaces'], read),
      rule(['discovery.k8s.io'], ['endpointslices'], read),
    ],
    users: ['system:kube-dns'],
  },
  'system:node-proxier': {
    rules: [
      rule([''], ['endpoints', 'services', 'nodes'], read),
      rule(['discovery.k8s.io'], ['endpointslices'], read),
      rule(['', 'events.k8s.io'], ['events'], ['create', 'patch', 'update']),
    ],
    users: ['system:kube-proxy'],
  },
};

export function bootstrapAccess(): Fields[] {
  const objects: Fields[] = [];
  const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
  for (const [name, role] of Object.entries(roles)) {
    objects.push({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name, labels },
      rules: role.rules,
    });
    const subjects = [
      ...(role.groups ?? []).map((group) => ({ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: group })),
      ...(role.users ?? []).map((user) => ({ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: user })),
      ...(role.accounts ?? []).map(([namespace, account]) => ({ kind: 'ServiceAccount', namespace, name: account })),
    ];
    if (subjects.length === 0) continue;
    objects.push({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects,
    });
  }
  return objects;
}
