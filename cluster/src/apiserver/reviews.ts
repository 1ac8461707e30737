/** Questions about tokens and access, answered at once: TokenReview, the access reviews, SelfSubjectReview. */
import type { User } from '../authentication/authenticator.ts';
import { API_AUDIENCES, type TokenAuthority } from '../authentication/token-authority.ts';
import type { AccessAttributes } from '../authorization/authorizer.ts';
import { missingFields } from '../schema/decode.ts';
import type { Fields } from '../store/stored-object.ts';
import { readObject } from './body.ts';
import type { ApiRequest } from './context.ts';
import { decodeObject } from './decode-body.ts';
import { sendJson } from './respond.ts';
import { badRequest, invalid, invalidValue, noSuchPath, required } from './status.ts';
import { rfc3339 } from './write.ts';

export async function handleReview(request: ApiRequest, tokens: TokenAuthority): Promise<void> {
  const { resource, context } = request;
  const body = await readObject(request.incoming);
  if (body === undefined) throw badRequest(`the body is empty: a ${resource.kind} is needed`);
  const review = decodeObject(request, body);
  const missing = missingFields(resource.schema, review);
  if (missing.length > 0)
    throw invalid(
      resource,
      '',
      missing.map((field) => required(field)),
    );
  const status = answer(request, review, tokens);
  const metadata = { ...review.metadata, creationTimestamp: rfc3339(context.now()) };
  sendJson(request, 201, JSON.stringify({ ...review, metadata, status }));
}

function answer(request: ApiRequest, review: Fields, tokens: TokenAuthority): Fields {
  const { authorizer } = request.context;
  const { spec } = review;
  switch (request.resource.kind) {
    case 'TokenReview': {
      if (!spec?.token) throw badRequest('token is required for TokenReview in authentication');
      const result = tokens.review(spec.token, spec.audiences?.length > 0 ? spec.audiences : API_AUDIENCES);
      if ('problem' in result) return { user: {}, error: result.problem };
      return { authenticated: true, user: userJson(result.user), audiences: result.audiences };
    }
    case 'SelfSubjectReview':
      return { userInfo: userJson(request.user) };
    case 'SelfSubjectAccessReview':
      return decide(authorizer.authorize(attributes(request, request.user, spec)));
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview': {
      if (!spec.user && (spec.groups ?? []).length === 0)
        throw badRequest('at least one of user or group must be specified');
      const user: User = { name: spec.user ?? '', uid: spec.uid ?? '', groups: spec.groups ?? [] };
      const namespace = request.resource.namespaced ? request.info.namespace : undefined;
      if (namespace !== undefined && spec.resourceAttributes?.namespace !== namespace) {
        throw badRequest(
          `the namespace of the review (${spec.resourceAttributes?.namespace ?? ''}) is not that of the request (${namespace})`,
        );
      }
      return decide(authorizer.authorize(attributes(request, user, spec)));
    }
    case 'SelfSubjectRulesReview': {
      if (!spec.namespace) throw badRequest('no namespace on request');
      const rules = authorizer.rulesOf(request.user, spec.namespace);
      return {
        incomplete: false,
        resourceRules: rules
          .filter((rule) => (rule.nonResourceURLs ?? []).length === 0)
          .map(({ verbs, apiGroups, resources, resourceNames }) => ({
            verbs,
            apiGroups,
            resources,
            ...(resourceNames === undefined ? {} : { resourceNames }),
          })),
        nonResourceRules: rules
          .filter((rule) => (rule.nonResourceURLs ?? []).length > 0)
          .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
      };
    }
    default:
      throw noSuchPath();
  }
}

function attributes(request: ApiRequest, user: User, spec: Fields | undefined): AccessAttributes {
  const { resourceAttributes, nonResourceAttributes } = spec ?? {};
  if ((resourceAttributes === undefined) === (nonResourceAttributes === undefined)) {
    throw invalid(request.resource, '', [
      invalidValue(
        'spec.resourceAttributes',
        resourceAttributes,
        'exactly one of nonResourceAttributes or resourceAttributes must be specified',
      ),
    ]);
  }
  if (nonResourceAttributes !== undefined)
    return { user, verb: nonResourceAttributes.verb ?? '', path: nonResourceAttributes.path ?? '' };
  const { verb, group, resource, subresource, namespace, name } = resourceAttributes;
  return {
    user,
    verb: verb ?? '',
    resource: {
      group: group ?? '',
      plural: resource ?? '',
      subresource: subresource ?? '',
      namespace: namespace || undefined,
      name: name || undefined,
    },
  };
}

function decide({ isAllowed, reason }: { isAllowed: boolean; reason: string }): Fields {
  return { allowed: isAllowed, ...(reason === '' ? {} : { reason }) };
}

export function userJson({ name, uid, groups, extra }: User): Fields {
  return { username: name, ...(uid ? { uid } : {}), groups, ...(extra === undefined ? {} : { extra }) };
}
