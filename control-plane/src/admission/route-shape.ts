/**
 * The shape of a Gateway API route, apart from its values: a route of another shape was written for a later version of
 * the API, and is not for this webhook to refuse.
 */
import type { KubeObject } from '@tulle/api';
import { isEgressNetwork, isServer, isService } from '@tulle/api/routes/route.ts';

type Shape = 'text' | 'number' | { readonly [field: string]: Shape } | readonly [Shape];

const TARGET: Shape = { group: 'text', kind: 'text', namespace: 'text', name: 'text', port: 'number' };
const VALUE: Shape = { type: 'text', name: 'text', value: 'text' };
const HEADERS: Shape = { set: [VALUE], add: [VALUE], remove: ['text'] };
const PATH: Shape = { type: 'text', replaceFullPath: 'text', replacePrefixMatch: 'text' };
const FILTER: Shape = {
  type: 'text',
  requestHeaderModifier: HEADERS,
  responseHeaderModifier: HEADERS,
  requestRedirect: { scheme: 'text', hostname: 'text', path: PATH, port: 'number', statusCode: 'number' },
  urlRewrite: { hostname: 'text', path: PATH },
  requestMirror: { backendRef: TARGET },
};
const route = (match: Shape): Shape => ({
  parentRefs: [{ ...(TARGET as object), sectionName: 'text' }],
  hostnames: ['text'],
  rules: [
    {
      matches: [match],
      filters: [FILTER],
      backendRefs: [{ ...(TARGET as object), weight: 'number', filters: [FILTER] }],
      timeouts: { request: 'text', backendRequest: 'text' },
    },
  ],
});

const HTTP_SHAPE = route({
  path: { type: 'text', value: 'text' },
  headers: [VALUE],
  queryParams: [VALUE],
  method: 'text',
});
const GRPC_SHAPE = route({ method: { type: 'text', service: 'text', method: 'text' }, headers: [VALUE] });

/** As `spec.rules: found "x", known is a list`; none where the shape is known. */
export function shapeProblems(object: KubeObject): string[] {
  const problems: string[] = [];
  compare(object.spec, object.kind === 'GRPCRoute' ? GRPC_SHAPE : HTTP_SHAPE, 'spec', problems);
  return problems;
}

/** Whether a part of the route is for the mesh. Called once the shape of its parents is known. */
export function hasParentOfMesh({ spec }: KubeObject): boolean {
  const parents = (spec?.parentRefs ?? []) as ({ group?: string; kind?: string } | null)[];
  return parents.some((parent) => {
    const group = parent?.group === 'core' ? '' : (parent?.group ?? 'gateway.networking.k8s.io');
    const ref = { group, kind: parent?.kind ?? 'Gateway' };
    return isService(ref) || isEgressNetwork(ref) || isServer(ref);
  });
}

function compare(value: unknown, shape: Shape, path: string, problems: string[]): void {
  if (value === undefined || value === null) return;
  const refuse = (known: string) =>
    problems.push(`${path}: found ${JSON.stringify(value).slice(0, 40)}, known is ${known}`);
  if (shape === 'text' || shape === 'number') {
    if (typeof value !== (shape === 'text' ? 'string' : 'number')) refuse(`a ${shape}`);
  } else if (isList(shape)) {
    if (!Array.isArray(value)) refuse('a list');
    else for (const [i, item] of value.entries()) compare(item, shape[0], `${path}[${i}]`, problems);
  } else if (typeof value !== 'object' || Array.isArray(value)) refuse('an object');
  else {
    for (const [field, inner] of Object.entries(shape)) {
      compare((value as Record<string, unknown>)[field], inner, `${path}.${field}`, problems);
    }
  }
}

const isList = (shape: Shape): shape is readonly [Shape] => Array.isArray(shape);
