/**
 * The Kubernetes kinds that the mesh, its cluster and its command line name, each as the four facts a request needs.
 * Kinds that are not here are found by discovery (`Client.kindFor`).
 */

export interface Kind {
  /** `v1` for the core group, `group/version` otherwise. */
  readonly apiVersion: string;
  readonly kind: string;
  /** The resource's name in paths: lower case, plural. */
  readonly plural: string;
  readonly namespaced: boolean;
}

function namespaced(apiVersion: string, kind: string, plural: string): Kind {
  return Object.freeze({ apiVersion, kind, plural, namespaced: true });
}

function clusterWide(apiVersion: string, kind: string, plural: string): Kind {
  return Object.freeze({ apiVersion, kind, plural, namespaced: false });
}

export const NAMESPACES = clusterWide('v1', 'Namespace', 'namespaces');
export const NODES = clusterWide('v1', 'Node', 'nodes');
export const PERSISTENT_VOLUMES = clusterWide('v1', 'PersistentVolume', 'persistentvolumes');
export const PODS = namespaced('v1', 'Pod', 'pods');
export const SERVICES = namespaced('v1', 'Service', 'services');
export const ENDPOINTS = namespaced('v1', 'Endpoints', 'endpoints');
export const CONFIG_MAPS = namespaced('v1', 'ConfigMap', 'configmaps');
export const SECRETS = namespaced('v1', 'Secret', 'secrets');
export const SERVICE_ACCOUNTS = namespaced('v1', 'ServiceAccount', 'serviceaccounts');
export const CORE_EVENTS = namespaced('v1', 'Event', 'events');
export const REPLICATION_CONTROLLERS = namespaced('v1', 'ReplicationController', 'replicationcontrollers');
export const PERSISTENT_VOLUME_CLAIMS = namespaced('v1', 'PersistentVolumeClaim', 'persistentvolumeclaims');
export const RESOURCE_QUOTAS = namespaced('v1', 'ResourceQuota', 'resourcequotas');
export const LIMIT_RANGES = namespaced('v1', 'LimitRange', 'limitranges');

export const DEPLOYMENTS = namespaced('apps/v1', 'Deployment', 'deployments');
export const REPLICA_SETS = namespaced('apps/v1', 'ReplicaSet', 'replicasets');
export const STATEFUL_SETS = namespaced('apps/v1', 'StatefulSet', 'statefulsets');
export const DAEMON_SETS = namespaced('apps/v1', 'DaemonSet', 'daemonsets');
export const CONTROLLER_REVISIONS = namespaced('apps/v1', 'ControllerRevision', 'controllerrevisions');

export const JOBS = namespaced('batch/v1', 'Job', 'jobs');
export const CRON_JOBS = namespaced('batch/v1', 'CronJob', 'cronjobs');

export const ENDPOINT_SLICES = namespaced('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices');
export const LEASES = namespaced('coordination.k8s.io/v1', 'Lease', 'leases');
export const POD_DISRUPTION_BUDGETS = namespaced('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets');
export const INGRESSES = namespaced('networking.k8s.io/v1', 'Ingress', 'ingresses');
export const NETWORK_POLICIES = namespaced('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies');

export const ROLES = namespaced('rbac.authorization.k8s.io/v1', 'Role', 'roles');
export const ROLE_BINDINGS = namespaced('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings');
export const CLUSTER_ROLES = clusterWide('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles');
export const CLUSTER_ROLE_BINDINGS = clusterWide(
  'rbac.authorization.k8s.io/v1',
  'ClusterRoleBinding',
  'clusterrolebindings',
);

export const CUSTOM_RESOURCE_DEFINITIONS = clusterWide(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
);
export const MUTATING_WEBHOOK_CONFIGURATIONS = clusterWide(
  'admissionregistration.k8s.io/v1',
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
);
export const VALIDATING_WEBHOOK_CONFIGURATIONS = clusterWide(
  'admissionregistration.k8s.io/v1',
  'ValidatingWebhookConfiguration',
  'validatingwebhookconfigurations',
);
export const API_SERVICES = clusterWide('apiregistration.k8s.io/v1', 'APIService', 'apiservices');
export const PRIORITY_CLASSES = clusterWide('scheduling.k8s.io/v1', 'PriorityClass', 'priorityclasses');

export const SERVICE_PROFILES = namespaced('linkerd.io/v1alpha2', 'ServiceProfile', 'serviceprofiles');
export const EXTERNAL_WORKLOADS = namespaced('workload.linkerd.io/v1beta1', 'ExternalWorkload', 'externalworkloads');
export const TRAFFIC_SPLITS = namespaced('split.smi-spec.io/v1alpha4', 'TrafficSplit', 'trafficsplits');
export const TRAFFIC_TARGETS = namespaced('access.smi-spec.io/v1alpha3', 'TrafficTarget', 'traffictargets');
export const HTTP_ROUTE_GROUPS = namespaced('specs.smi-spec.io/v1alpha4', 'HTTPRouteGroup', 'httproutegroups');
export const SMI_TCP_ROUTES = namespaced('specs.smi-spec.io/v1alpha4', 'TCPRoute', 'tcproutes');

export const TOKEN_REVIEWS = clusterWide('authentication.k8s.io/v1', 'TokenReview', 'tokenreviews');
export const SELF_SUBJECT_REVIEWS = clusterWide('authentication.k8s.io/v1', 'SelfSubjectReview', 'selfsubjectreviews');
export const SUBJECT_ACCESS_REVIEWS = clusterWide(
  'authorization.k8s.io/v1',
  'SubjectAccessReview',
  'subjectaccessreviews',
);
export const SELF_SUBJECT_ACCESS_REVIEWS = clusterWide(
  'authorization.k8s.io/v1',
  'SelfSubjectAccessReview',
  'selfsubjectaccessreviews',
);
export const SELF_SUBJECT_RULES_REVIEWS = clusterWide(
  'authorization.k8s.io/v1',
  'SelfSubjectRulesReview',
  'selfsubjectrulesreviews',
);
export const LOCAL_SUBJECT_ACCESS_REVIEWS = namespaced(
  'authorization.k8s.io/v1',
  'LocalSubjectAccessReview',
  'localsubjectaccessreviews',
);

export const SERVERS = namespaced('policy.linkerd.io/v1beta3', 'Server', 'servers');
export const SERVER_AUTHORIZATIONS = namespaced(
  'policy.linkerd.io/v1beta1',
  'ServerAuthorization',
  'serverauthorizations',
);
export const AUTHORIZATION_POLICIES = namespaced(
  'policy.linkerd.io/v1alpha1',
  'AuthorizationPolicy',
  'authorizationpolicies',
);
export const MESH_TLS_AUTHENTICATIONS = namespaced(
  'policy.linkerd.io/v1alpha1',
  'MeshTLSAuthentication',
  'meshtlsauthentications',
);
export const NETWORK_AUTHENTICATIONS = namespaced(
  'policy.linkerd.io/v1alpha1',
  'NetworkAuthentication',
  'networkauthentications',
);
export const HTTP_LOCAL_RATE_LIMIT_POLICIES = namespaced(
  'policy.linkerd.io/v1alpha1',
  'HTTPLocalRateLimitPolicy',
  'httplocalratelimitpolicies',
);
export const EGRESS_NETWORKS = namespaced('policy.linkerd.io/v1alpha1', 'EgressNetwork', 'egressnetworks');
export const POLICY_HTTP_ROUTES = namespaced('policy.linkerd.io/v1beta3', 'HTTPRoute', 'httproutes');

export const HTTP_ROUTES = namespaced('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes');
export const GRPC_ROUTES = namespaced('gateway.networking.k8s.io/v1', 'GRPCRoute', 'grpcroutes');
export const TLS_ROUTES = namespaced('gateway.networking.k8s.io/v1alpha2', 'TLSRoute', 'tlsroutes');
export const TCP_ROUTES = namespaced('gateway.networking.k8s.io/v1alpha2', 'TCPRoute', 'tcproutes');
export const MESHES = clusterWide('gateway.networking.x-k8s.io/v1alpha1', 'XMesh', 'xmeshes');
export const REFERENCE_GRANTS = namespaced('gateway.networking.k8s.io/v1beta1', 'ReferenceGrant', 'referencegrants');
