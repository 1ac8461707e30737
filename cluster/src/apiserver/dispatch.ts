/** From a request to its handler: authentication, impersonation, authorization, then the verb. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MeshError } from '@tulle/api';
import { ANONYMOUS } from '../authentication/authenticator.ts';
import type { TokenAuthority } from '../authentication/token-authority.ts';
import { apiserver as logger } from '../logger.ts';
import type { Resource } from '../resources/resource.ts';
import { authenticate, authorize } from './access.ts';
import type { ApiContext, ApiRequest } from './context.ts';
import { FIELD_VALIDATIONS } from './decode-body.ts';
import { handleDelete, handleDeleteCollection } from './delete.ts';
import { handleCreate, handlePatch, handleUpdate } from './mutate.ts';
import { handleLog, type NodeDialer } from './node-proxy.ts';
import { handlePath } from './paths.ts';
import { findEntry, handleGet, handleList, type PagedLists } from './read.ts';
import { parseRequest } from './request-info.ts';
import { sendJson, statusOf } from './respond.ts';
import { handleReview } from './reviews.ts';
import {
  badRequest,
  type FieldError,
  invalidOptions,
  methodNotAllowed,
  noSuchPath,
  unsupportedValue,
} from './status.ts';
import { handleBinding, handleEviction, handleFinalize, handleScale, handleTokenRequest } from './subresources.ts';
import { handleWatch } from './watch.ts';

export interface Services {
  context: ApiContext;
  tokens: TokenAuthority;
  pages: PagedLists;
  dial: NodeDialer;
  isReady: () => boolean;
}

/** Answers one request; every error becomes a Status. */
export async function dispatch(services: Services, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const request = openRequest(services, incoming, outgoing);
  try {
    request.user = authenticate(services.context, incoming);
    authorize(services.context, request);
    if (request.info.isResource) await handleResource(services, request);
    else handlePath(services, request);
  } catch (error) {
    sendError(request, error);
  }
}

export function openRequest({ context }: Services, incoming: IncomingMessage, outgoing: ServerResponse): ApiRequest {
  const info = parseRequest(incoming.method ?? 'GET', incoming.url ?? '/');
  return {
    context,
    info,
    user: ANONYMOUS,
    // Set as soon as the path is known to name a resource; handlers of other paths do not look at it.
    resource: undefined as unknown as Resource,
    incoming,
    outgoing,
    warnings: [],
    isDryRun: info.query.get('dryRun') === 'All',
    fieldManager:
      info.query.get('fieldManager') ||
      (incoming.headers['user-agent'] ?? 'unknown').split(/[/ ]/)[0]!.slice(0, 128) ||
      'unknown',
  };
}

function sendError(request: ApiRequest, error: unknown): void {
  const { outgoing, incoming } = request;
  const status = statusOf(error);
  if (!(error instanceof MeshError)) {
    const { method, url } = incoming;
    logger.error({ method, url, stack: error instanceof Error ? error.stack : String(error) }, 'a request failed here');
  }
  if (outgoing.headersSent) return void outgoing.destroy();
  if (status.details?.retryAfterSeconds !== undefined)
    outgoing.setHeader('retry-after', String(status.details.retryAfterSeconds));
  // The rest of a body that nobody reads would be taken for the next request.
  if (!incoming.complete) outgoing.setHeader('connection', 'close');
  sendJson(request, status.code, JSON.stringify(status));
}

const WRITE_OPTIONS: Record<string, string> = {
  create: 'CreateOptions',
  update: 'UpdateOptions',
  patch: 'PatchOptions',
  delete: 'DeleteOptions',
  deletecollection: 'DeleteOptions',
};

function checkWriteOptions({ info }: ApiRequest): void {
  const options = WRITE_OPTIONS[info.verb];
  if (options === undefined) return;
  const causes: FieldError[] = [];
  const dryRun = info.query.get('dryRun') || 'All';
  if (dryRun !== 'All') causes.push(unsupportedValue('dryRun', [dryRun], ['All']));
  const validation = info.query.get('fieldValidation') ?? '';
  if (options !== 'DeleteOptions' && !FIELD_VALIDATIONS.includes(validation)) {
    causes.push(unsupportedValue('fieldValidation', validation, FIELD_VALIDATIONS));
  }
  if (causes.length > 0) throw invalidOptions(options, causes);
}

async function handleResource(services: Services, request: ApiRequest): Promise<void> {
  const { info, context } = request;
  const resource = context.registry.find(info.group, info.version, info.plural);
  if (resource === undefined) throw noSuchPath();
  request.resource = resource;
  if (resource.storage !== 'namespaces' && !resource.namespaced && info.namespace !== undefined) throw noSuchPath();
  if (resource.storage === 'namespaces') info.namespace = undefined;
  checkWriteOptions(request);
  if (info.subresource !== '') return handleSubresource(services, request);
  if (!(resource.verbs as readonly string[]).includes(info.verb)) throw methodNotAllowed();
  const needsNamespace = resource.namespaced && info.namespace === undefined;
  if (needsNamespace && !['list', 'watch', 'create'].includes(info.verb)) throw methodNotAllowed();
  switch (info.verb) {
    case 'get':
      return handleGet(request);
    case 'list':
      return handleList(request, services.pages);
    case 'watch':
      return handleWatch(request);
    case 'create':
      if (info.name !== undefined) throw methodNotAllowed();
      return resource.columns.length > 0 && isReview(resource)
        ? handleReview(request, services.tokens)
        : handleCreate(request);
    case 'update':
      if (info.name === undefined) throw methodNotAllowed();
      return handleUpdate(request);
    case 'patch':
      if (info.name === undefined) throw methodNotAllowed();
      return handlePatch(request);
    case 'delete':
      return handleDelete(request);
    case 'deletecollection':
      return handleDeleteCollection(request);
    default:
      throw methodNotAllowed();
  }
}

const isReview = (resource: Resource) => resource.verbs.length === 1 && resource.verbs[0] === 'create';

async function handleSubresource(services: Services, request: ApiRequest): Promise<void> {
  const { info, resource, incoming } = request;
  const { subresource, verb } = info;
  const isCreate = verb === 'create';
  if (subresource === 'status' && resource.hasStatus) {
    if (verb === 'get') return handleGet(request);
    if (verb === 'update') return handleUpdate(request);
    if (verb === 'patch') return handlePatch(request);
    throw methodNotAllowed();
  }
  if (subresource === 'scale' && resource.scale !== undefined) return handleScale(request);
  if (!resource.subresources.some((sub) => sub.name === subresource)) {
    // Known to Kubernetes, not to this cluster: the path is right, the method never is.
    if (
      resource.storage === 'pods' &&
      ['exec', 'attach', 'proxy', 'ephemeralcontainers', 'resize'].includes(subresource)
    )
      throw methodNotAllowed();
    throw noSuchPath();
  }
  switch (`${resource.storage}/${subresource}`) {
    case 'pods/log':
      if (verb !== 'get') throw methodNotAllowed();
      return handleLog(request, findEntry(request), services.dial);
    case 'pods/binding':
      if (!isCreate) throw methodNotAllowed();
      return handleBinding(request);
    case 'pods/eviction':
      if (!isCreate) throw methodNotAllowed();
      return handleEviction(request);
    case 'pods/portforward':
      findEntry(request);
      throw badRequest(
        incoming.headers.upgrade === undefined
          ? 'Upgrade request required'
          : 'unable to upgrade: only WebSocket is spoken here',
      );
    case 'serviceaccounts/token':
      if (!isCreate) throw methodNotAllowed();
      return handleTokenRequest(request, services.tokens);
    case 'namespaces/finalize':
      if (verb !== 'update') throw methodNotAllowed();
      return handleFinalize(request);
    default:
      throw methodNotAllowed();
  }
}
