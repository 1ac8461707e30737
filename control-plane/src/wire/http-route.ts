/** Hosts, matches and filters of routes as the proxy API writes them, for requests that leave and that arrive. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GrpcFailureInjectorSchema, GrpcRouteMatchSchema } from '@tulle/api/gen/grpc_route_pb.ts';
import type {
  HeaderMatchSchema,
  HostMatchSchema,
  HttpFailureInjectorSchema,
  HttpRouteMatchSchema,
  PathMatchSchema,
  PathModifierSchema,
  QueryParamMatchSchema,
  RequestHeaderModifierSchema,
  RequestRedirectSchema,
} from '@tulle/api/gen/http_route_pb.ts';
import {
  type HeadersSchema,
  HttpMethod_Registered,
  type HttpMethodSchema,
  Scheme_Registered,
  type SchemeSchema,
} from '@tulle/api/gen/http_types_pb.ts';
import type { Header, HeaderFilter, PathModifier, RedirectFilter } from '@tulle/api/routes/http-filter.ts';
import type { GrpcMatch, HttpMatch, PathMatch, ValueMatch } from '@tulle/api/routes/http-match.ts';

/** Every request; a ratio that is left out means the same and not all proxies read it so. */
const ALWAYS = { numerator: 1, denominator: 1 };

/** `*.example.com` is its labels from the right. */
export function toHostMatch(hostname: string): MessageInitShape<typeof HostMatchSchema> {
  if (!hostname.startsWith('*.')) return { match: { case: 'exact', value: hostname } };
  const reverseLabels = hostname.slice(2).split('.').reverse();
  return { match: { case: 'suffix', value: { reverseLabels } } };
}

export function toHttpMatch(match: HttpMatch): MessageInitShape<typeof HttpRouteMatchSchema> {
  return {
    path: toPathMatch(match.path),
    headers: match.headers.map(toHeaderMatch),
    queryParams: match.queryParams.map(toQueryParamMatch),
    method: match.method === undefined ? undefined : toMethod(match.method),
  };
}

export function toGrpcMatch({ service, method, headers }: GrpcMatch): MessageInitShape<typeof GrpcRouteMatchSchema> {
  const hasRpc = service !== undefined || method !== undefined;
  return {
    rpc: hasRpc ? { service: service ?? '', method: method ?? '' } : undefined,
    headers: headers.map(toHeaderMatch),
  };
}

function toPathMatch({ kind, value }: PathMatch): MessageInitShape<typeof PathMatchSchema> {
  return { kind: { case: kind, value } };
}

function toHeaderMatch({ kind, name, value }: ValueMatch): MessageInitShape<typeof HeaderMatchSchema> {
  return { name, value: kind === 'exact' ? { case: 'exact', value: bytes(value) } : { case: 'regex', value } };
}

function toQueryParamMatch({ kind, name, value }: ValueMatch): MessageInitShape<typeof QueryParamMatchSchema> {
  return { name, value: { case: kind, value } };
}

export function toMethod(method: string): MessageInitShape<typeof HttpMethodSchema> {
  const registered = (HttpMethod_Registered as Record<string, unknown>)[method];
  return typeof registered === 'number'
    ? { type: { case: 'registered', value: registered as HttpMethod_Registered } }
    : { type: { case: 'unregistered', value: method } };
}

/** Response headers are written the same. */
export function toHeaderModifier(filter: HeaderFilter): MessageInitShape<typeof RequestHeaderModifierSchema> {
  return { add: toHeaders(filter.add), set: toHeaders(filter.set), remove: [...filter.remove] };
}

function toHeaders(headers: readonly Header[]): MessageInitShape<typeof HeadersSchema> | undefined {
  if (headers.length === 0) return undefined;
  return { headers: headers.map(({ name, value }) => ({ name, value: bytes(value) })) };
}

export function toRedirect(filter: RedirectFilter): MessageInitShape<typeof RequestRedirectSchema> {
  const { scheme, host, path, port, status } = filter;
  return {
    scheme: scheme && toScheme(scheme),
    host: host ?? '',
    path: path && toPathModifier(path),
    port: port ?? 0,
    status,
  };
}

function toScheme(scheme: 'http' | 'https'): MessageInitShape<typeof SchemeSchema> {
  return {
    type: { case: 'registered', value: scheme === 'http' ? Scheme_Registered.HTTP : Scheme_Registered.HTTPS },
  };
}

export function toPathModifier({ kind, value }: PathModifier): MessageInitShape<typeof PathModifierSchema> {
  return { replace: { case: kind, value } };
}

/** Answers every request with the status. */
export function httpFailure(status: number, message: string): MessageInitShape<typeof HttpFailureInjectorSchema> {
  return { status, message, ratio: ALWAYS };
}

/** Answers every call with the gRPC status code. */
export function grpcFailure(code: number, message: string): MessageInitShape<typeof GrpcFailureInjectorSchema> {
  return { code, message, ratio: ALWAYS };
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
