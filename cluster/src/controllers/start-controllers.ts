/**
 * Starts every controller of the cluster on one client: each reads and writes the API as any other client would.
 * Collecting garbage is the API server's, which knows who owns what without a copy of everything.
 */

import type { Client } from '@tulle/client';
import { startScheduler } from '../scheduler/scheduler.ts';
import { createControllerContext } from './controller-context.ts';
import { startCronJobController } from './cron-job/cron-job-controller.ts';
import { startDaemonSetController } from './daemon-set.ts';
import { startDeploymentController } from './deployment/deployment-controller.ts';
import { startDisruptionBudgetController } from './disruption-budget.ts';
import { startEndpointController } from './endpoints/endpoint-controller.ts';
import { startEndpointMirrorController } from './endpoints/mirror-controller.ts';
import { startJobController } from './job/job-controller.ts';
import { startNamespaceController } from './namespace.ts';
import { startNodeLifecycleController } from './node-lifecycle.ts';
import { startPodEvictionController } from './pod-eviction.ts';
import { startReplicaSetController } from './replica-set.ts';
import { startServiceAccountController } from './service-account.ts';
import { startStatefulSetController } from './stateful-set/stateful-set-controller.ts';

export interface ControllersOptions {
  client: Client;
  /** Ends them all. */
  signal: AbortSignal;
  /** Milliseconds since 1970; for tests. */
  now?: () => number;
}

/** They begin once the kinds they read have been listed, and go on by themselves whenever the server is back. */
export function startControllers({ client, signal, now }: ControllersOptions): void {
  const context = createControllerContext(client, signal, now);
  startServiceAccountController(context);
  startScheduler(context);
  startReplicaSetController(context);
  startDeploymentController(context);
  startEndpointController(context);
  startEndpointMirrorController(context);
  startStatefulSetController(context);
  startDaemonSetController(context);
  startJobController(context);
  startCronJobController(context);
  startDisruptionBudgetController(context);
  startNodeLifecycleController(context);
  startPodEvictionController(context);
  startNamespaceController(context);
}
