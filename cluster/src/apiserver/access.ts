/** May this request be made: who asks (and as whom), and whether a role allows it. */
import type { IncomingMessage } from 'node:http';
import { ANONYMOUS, AUTHENTICATED_GROUP, type User } from '../authentication/authenticator.ts';
import type { ApiContext, ApiRequest } from './context.ts';
import { badRequest, failure, forbidden } from './status.ts';

/** The user of the request, or the one whom it may impersonate. */
export function authenticate(context: ApiContext, incoming: IncomingMessage): User {
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

/** Throws a 403 that says who may not do what. */
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
