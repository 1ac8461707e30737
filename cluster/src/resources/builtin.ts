/** Every kind that is served without a CustomResourceDefinition. */
import * as access from './access.ts';
import { apiServices } from './api-service.ts';
import * as apps from './apps.ts';
import * as batch from './batch.ts';
import * as core from './core.ts';
import { customResourceDefinitions } from './custom-resource-definition.ts';
import * as event from './event.ts';
import { pods } from './pod.ts';
import type { Resource } from './resource.ts';
import { services } from './service.ts';

export const builtinResources: readonly Resource[] = [
  core.namespaces,
  pods,
  services,
  core.endpoints,
  core.configMaps,
  core.secrets,
  core.serviceAccounts,
  core.nodes,
  event.events,
  apps.deployments,
  apps.replicaSets,
  apps.statefulSets,
  apps.daemonSets,
  apps.controllerRevisions,
  batch.jobs,
  batch.cronJobs,
  core.endpointSlices,
  event.eventsV1,
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
