/** From a request to its handler: authentication, impersonation, authorization, then the verb. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, AUTHENTICATED_GROUP, type User } from '../authentication/authenticator.ts';
import type { TokenAuthority } from '../authentication/token-authority.ts';
import { ISSUER } from '../authentication/token-authority.ts';
import type { Resource } from '../resources/resource.ts';
import type { ApiContext, ApiRequest } from './context.ts';
import { handleDelete, handleDeleteCollection } from './delete.ts';
import { handleDiscovery, versionInfo } from './discovery.ts';
import { handleCreate, handlePatch, handleUpdate } from './mutate.ts';
import { handleLog, type NodeDialer } from './node-proxy.ts';
import { handleOpenApi } from './openapi.ts';
import { findEntry, handleGet, handleList, type PagedLists } from './read.ts';
import { parseRequest, type RequestInfo } from './request-info.ts';
import { sendJson, statusOf } from './respond.ts';
import { handleReview } from './reviews.ts';
import { badRequest, failure, forbidden, methodNotAllowed, noSuchPath } from './status.ts';
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
    request.user = authenticate(services.context, incoming, request.info);
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
  if (outgoing.headersSent) return void outgoing.destroy();
  if (status.details?.retryAfterSeconds !== undefined)
    outgoing.setHeader('retry-after', String(status.details.retryAfterSeconds));
  // The rest of a body that nobody reads would be taken for the next request.
  if (!incoming.complete) outgoing.setHeader('connection', 'close');
  sendJson(request, status.code, JSON.stringify(status));
}

export function authenticate(context: ApiContext, incoming: IncomingMessage, _info: RequestInfo): User {
  const user = context.authenticator.authenticate(incoming);
  const { headers } = incoming;
  const asName = headers['impersonate-user'];
  if (asName === undefined) {
    if (headers['impersonate-group'] !== undefined || headers['impersonate-uid'] !== undefined)
      throw badRequest('requested impersonation without impersonating a user');
    return user;
  }
  const name = String(asName);
  const groups = (incoming.headersDistinct['impersonate-group'] ?? []).flatMap((value) =>
    value.split(',').map((group) => group.trim()),
  );
  const extra: Record<string, string[]> = {};
  for (const [header, values] of Object.entries(incoming.headersDistinct)) {
    if (header.startsWith('impersonate-extra-'))
      extra[decodeURIComponent(header.slice('impersonate-extra-'.length))] = values ?? [];
  }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const may = (group: string, plural: string, target: string, namespace?: string) => {
    const decision = context.authorizer.authorize({
      user,
      verb: 'impersonate',
      resource: { group, plural, subresource: '', name: target, namespace },
    });
    if (!decision.isAllowed)
      throw forbidden({ group, plural }, target, denial(user, 'impersonate', { group, plural }, namespace));
  };
  if (account !== null) may('', 'serviceaccounts', account[2]!, account[1]);
  else may('', 'users', name);
  for (const group of groups) may('', 'groups', group);
  for (const [key, values] of Object.entries(extra))
    for (const value of values) may('authentication.k8s.io', `userextras/${key}`, value);
  const all = new Set(groups);
  if (account !== null && groups.length === 0) {
    all.add('system:serviceaccounts').add(`system:serviceaccounts:${account[1]}`);
  }
  if (name !== ANONYMOUS.name) all.add(AUTHENTICATED_GROUP);
  else all.add('system:unauthenticated');
  return { name, groups: [...all], ...(Object.keys(extra).length > 0 ? { extra } : {}) };
}

export function authorize(context: ApiContext, { info, user }: Pick<ApiRequest, 'info' | 'user'>): void {
  if (info.isResource) {
    const resource = {
      group: info.group,
      plural: info.plural,
      subresource: info.subresource,
      namespace: info.namespace,
      name: info.name,
    };
    const decision = context.authorizer.authorize({ user, verb: info.verb, resource });
    if (decision.isAllowed) return;
    throw forbidden(
      resource,
      info.name ?? '',
      denial(
        user,
        info.verb,
        { ...resource, plural: info.subresource === '' ? info.plural : `${info.plural}/${info.subresource}` },
        info.namespace,
      ),
    );
  }
  const decision = context.authorizer.authorize({ user, verb: info.verb, path: info.path });
  if (!decision.isAllowed) {
    const message = `forbidden: User ${JSON.stringify(user.name)} cannot ${info.verb} path ${JSON.stringify(info.path)}`;
    throw failure(403, 'Forbidden', message, {});
  }
}

function denial(
  user: User,
  verb: string,
  resource: { group: string; plural: string },
  namespace: string | undefined,
): string {
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  return `User ${JSON.stringify(user.name)} cannot ${verb} resource ${JSON.stringify(resource.plural)} in API group ${JSON.stringify(resource.group)} ${where}`;
}

async function handleResource(services: Services, request: ApiRequest): Promise<void> {
  const { info, context } = request;
  const resource = context.registry.find(info.group, info.version, info.plural);
  if (resource === undefined) throw noSuchPath();
  request.resource = resource;
  if (resource.storage !== 'namespaces' && !resource.namespaced && info.namespace !== undefined) throw noSuchPath();
  if (resource.storage === 'namespaces') info.namespace = undefined;
  if (info.query.get('dryRun') !== null && !['', 'All'].includes(info.query.get('dryRun')!)) {
    throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(info.query.get('dryRun'))}: supported values: "All"`);
  }
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

function handlePath(services: Services, request: ApiRequest): void {
  const { info, outgoing, incoming } = request;
  if (info.method !== 'GET' && info.method !== 'HEAD') throw methodNotAllowed();
  const path = info.path.replace(/(?<=.)\/$/, '');
  const [root] = path.split('/').filter((segment) => segment !== '');
  switch (root) {
    case 'healthz':
    case 'livez':
    case 'readyz': {
      const isOk = root !== 'readyz' || services.isReady();
      const text = info.query.has('verbose')
        ? `[+]ping ok\n${isOk ? '[+]' : '[-]'}controllers ${isOk ? 'ok' : 'failed'}\n${root} check ${isOk ? 'passed' : 'failed'}\n`
        : isOk
          ? 'ok'
          : 'starting';
      outgoing.writeHead(isOk ? 200 : 500, {
        'content-type': 'text/plain; charset=utf-8',
        'content-length': Buffer.byteLength(text),
      });
      outgoing.end(incoming.method === 'HEAD' ? undefined : text);
      return;
    }
    case 'version':
      return sendJson(request, 200, JSON.stringify(versionInfo(), null, 2));
    case 'api':
    case 'apis':
      return handleDiscovery(request);
    case 'openapi':
      return handleOpenApi(request);
    case 'openid':
      if (path !== '/openid/v1/jwks') throw noSuchPath();
      return sendJson(request, 200, JSON.stringify(services.tokens.jwks()));
    case '.well-known': {
      if (path !== '/.well-known/openid-configuration') throw noSuchPath();
      const document = {
        issuer: ISSUER,
        jwks_uri: `${ISSUER}/openid/v1/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      };
      return sendJson(request, 200, JSON.stringify(document));
    }
    default:
      throw noSuchPath();
  }
}
