/** Every kind that is served without a CustomResourceDefinition. */
import * as access from './access.ts';
import { apiServices } from './api-service.ts';
import * as core from './core.ts';
import { customResourceDefinitions } from './custom-resource-definition.ts';
import { pods } from './pod.ts';
import type { Resource } from './resource.ts';
import { services } from './service.ts';
import * as workloads from './workloads.ts';

export const builtinResources: readonly Resource[] = [
  core.namespaces,
  pods,
  services,
  core.endpoints,
  core.configMaps,
  core.secrets,
  core.serviceAccounts,
  core.nodes,
  core.events,
  workloads.deployments,
  workloads.replicaSets,
  workloads.statefulSets,
  workloads.daemonSets,
  workloads.controllerRevisions,
  workloads.jobs,
  workloads.cronJobs,
  core.endpointSlices,
  core.eventsV1,
  core.leases,
  core.podDisruptionBudgets,
  core.priorityClasses,
  access.roles,
  access.clusterRoles,
  access.roleBindings,
  access.clusterRoleBindings,
  access.mutatingWebhooks,
  access.validatingWebhooks,
  customResourceDefinitions,
  apiServices,
  ...access.reviews,
];
