/** Service accounts and permissions of the control plane. One process holds all roles, each bound under Linkerd's own name. */
import type { KubeObject } from '@tulle/api';

const RBAC = 'rbac.authorization.k8s.io';
const READ = ['get', 'list', 'watch'];

const WRITE_STATUS = ['get', 'patch', 'update'];
const POLICIES_WITH_STATUS = ['httproutes', 'httplocalratelimitpolicies', 'egressnetworks'];
const POLICIES = [
  'authorizationpolicies',
  'meshtlsauthentications',
  'networkauthentications',
  'serverauthorizations',
  'servers',
  ...POLICIES_WITH_STATUS,
];
const GATEWAY_ROUTES = ['httproutes', 'grpcroutes', 'tlsroutes', 'tcproutes'];
const statusOf = (resources: string[]) => resources.map((resource) => `${resource}/status`);

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
        // Those of workloads outside the cluster are ours to write.
        rule(['discovery.k8s.io'], ['endpointslices'], [...READ, 'create', 'update', 'delete']),
        rule(['linkerd.io'], ['serviceprofiles'], READ),
        rule(['gateway.networking.x-k8s.io'], ['xmeshes'], READ),
        rule(['gateway.networking.x-k8s.io'], statusOf(['xmeshes']), WRITE_STATUS),
        rule(['workload.linkerd.io'], ['externalworkloads'], READ),
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
        rule(['policy.linkerd.io'], POLICIES, READ),
        rule(['policy.linkerd.io'], statusOf(POLICIES_WITH_STATUS), WRITE_STATUS),
        rule(['gateway.networking.k8s.io'], [...GATEWAY_ROUTES, 'referencegrants'], READ),
        rule(['gateway.networking.k8s.io'], statusOf(GATEWAY_ROUTES), WRITE_STATUS),
        rule(['workload.linkerd.io'], ['externalworkloads'], READ),
        rule(['linkerd.io'], ['serviceprofiles'], READ),
        rule(['split.smi-spec.io'], ['trafficsplits'], READ),
        rule(['access.smi-spec.io'], ['traffictargets'], READ),
        rule(['specs.smi-spec.io'], ['httproutegroups', 'tcproutes'], READ),
        rule([''], ['events'], ['create', 'patch']),
        rule(['events.k8s.io'], ['events'], ['create', 'patch']),
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
