/** Starts every controller of the cluster on one client: each reads and writes the API as any other client would. */

import type { Client } from '@tulle/client';
import { startScheduler } from '../scheduler/scheduler.ts';
import { createControllerContext } from './controller-context.ts';
import { startDeploymentController } from './deployment/deployment-controller.ts';
import { startEndpointController } from './endpoints/endpoint-controller.ts';
import { startReplicaSetController } from './replica-set.ts';
import { startServiceAccountController } from './service-account.ts';

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
}
