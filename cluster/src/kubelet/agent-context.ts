/** What the parts of one node agent share. */

import type { Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Logger } from 'pino';
import type { PodRuntime } from '../sandbox/pod-runtime.ts';
import type { AddressPool } from './address-pool.ts';
import type { EnvironmentSource } from './environment.ts';
import type { EventRecorder } from './event-recorder.ts';
import type { ImageTable } from './images.ts';
import type { PodNames } from './pod-files.ts';
import type { UidRange } from './security.ts';
import type { PodTokens } from './tokens.ts';

export interface AgentContext {
  client: Client;
  runtime: PodRuntime;
  images: ImageTable;
  nodeName: string;
  /** The node's own addresses, which are its pods' gateways. */
  nodeIps: string[];
  addresses: AddressPool;
  bridge: string;
  names: PodNames;
  uids: UidRange;
  /** What survives a restart of the agent: emptyDirs and logs. */
  diskDir: string;
  /** A tmpfs: tokens, secrets, /etc files. */
  memoryDir: string;
  /** An empty folder, where each container mounts its root in its own mount namespace. */
  rootDir: string;
  objects: EnvironmentSource;
  tokens: PodTokens;
  events: EventRecorder;
  logger: Logger;
  /** Has the pod's status sent soon. */
  reportStatus(uid: string): void;
  /** The pod has ended and may leave the API. */
  finishDeletion(pod: Pod): void;
}
