/** What every handler needs, and one request on its way through the server. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admission } from '../admission/admission.ts';
import type { Authenticator, User } from '../authentication/authenticator.ts';
import type { Authorizer } from '../authorization/authorizer.ts';
import type { Registry } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import type { Store } from '../store/store.ts';
import type { RequestInfo } from './request-info.ts';

export interface ApiContext {
  store: Store;
  registry: Registry;
  authenticator: Authenticator;
  authorizer: Authorizer;
  admission: Admission;
  /** Milliseconds since the epoch; tests give their own. */
  now: () => number;
  /** Ends long answers (watches, logs) when the server stops. */
  signal: AbortSignal;
}

export interface ApiRequest {
  context: ApiContext;
  info: RequestInfo;
  user: User;
  /** Set for paths of a served resource. */
  resource: Resource;
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  /** Shown to the user by kubectl; one header each. */
  warnings: string[];
  isDryRun: boolean;
  fieldManager: string;
}
