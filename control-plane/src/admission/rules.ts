/**
 * What an object must be to be let into the cluster. The parsers decide, which also feed what proxies are told: what is
 * let in can be carried out. Beyond them, routes of other controllers and of later versions of the Gateway API pass.
 */
import { type KubeObject, MeshError } from '@tulle/api';
import { refuseIfAny } from '@tulle/api/field.ts';
import { parseAuthorizationPolicy } from '@tulle/api/policy/authorization-policy.ts';
import { parseEgressNetwork } from '@tulle/api/policy/egress-network.ts';
import { parseHTTPLocalRateLimitPolicy } from '@tulle/api/policy/http-local-rate-limit-policy.ts';
import { parseMeshTLSAuthentication } from '@tulle/api/policy/mesh-tls-authentication.ts';
import { parseNetworkAuthentication } from '@tulle/api/policy/network-authentication.ts';
import { parseServer } from '@tulle/api/policy/server.ts';
import { parseServerAuthorization } from '@tulle/api/policy/server-authorization.ts';
import { GATEWAY_GROUP, POLICY_GROUP } from '@tulle/api/policy/target-ref.ts';
import { parseGrpcRoute } from '@tulle/api/routes/grpc-route.ts';
import { parseHttpRoute } from '@tulle/api/routes/http-route.ts';
import { hasOutboundParent, type Route, type Rule } from '@tulle/api/routes/route.ts';
import { parseTcpRoute } from '@tulle/api/routes/tcp-route.ts';
import { parseTlsRoute } from '@tulle/api/routes/tls-route.ts';
import { accrualProblems, parseTrafficAnnotations } from '../workloads/traffic-annotations.ts';
import { hasParentOfMesh, shapeProblems } from './route-shape.ts';

export interface Verdict {
  /** Why it is refused; undefined where it is let in. */
  refusal?: string;
  /** What its author should know, each a sentence of its own. */
  warnings: readonly string[];
}

/** By group and kind; every version has the same rules. */
export function checkPolicy(group: string, kind: string, object: KubeObject): Verdict {
  const check = CHECKS[`${group}/${kind}`];
  if (check) return check(object);
  return { refusal: `${kind}.${group}: found a kind that this webhook has no rules for`, warnings: [] };
}

type Check = (object: KubeObject) => Verdict;

const parsed =
  <T>(parse: (object: KubeObject) => T, warn: (value: T) => string[] = () => []): Check =>
  (object) => {
    try {
      return { warnings: warn(parse(object)) };
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code !== 'INVALID_ARGUMENT') throw error;
      return { refusal: error.message, warnings: [] };
    }
  };

type RequestRoute = Route & { readonly rules: readonly Rule[] };

/** As Linkerd's, it looks at the failure accrual of what leaves, and lets unsupported filters of Servers' routes in. */
const requestRoute = (parse: (object: KubeObject) => RequestRoute): Check => {
  const failing = ({ rules }: RequestRoute) =>
    rules.flatMap(({ field, invalid }) =>
      invalid === undefined ? [] : [`requests of ${field} will fail: ${invalid}`],
    );
  const checked = (object: KubeObject) => {
    const route = parse(object);
    if (hasOutboundParent(route)) refuseIfAny(accrualProblems(object.metadata.annotations ?? {}));
    return route;
  };
  return parsed(checked, failing);
};

/** The Gateway API is not ours alone: routes whose parents are all others' pass, and shapes that we do not know. */
const lenient =
  (check: Check): Check =>
  (object) => {
    const problems = shapeProblems(object);
    const areParentsKnown = !problems.some((text) => /^spec(\.parentRefs\b.*)?: /.test(text));
    if (areParentsKnown && !hasParentOfMesh(object)) return { warnings: [] };
    if (problems.length > 0) {
      const text = problems.slice(0, SHAPE_PROBLEMS_TOLD_MAX).join('; ');
      return { warnings: [`the mesh cannot read this route, and refuses requests that it would take: ${text}`] };
    }
    return check(object);
  };

const CHECKS: Readonly<Record<string, Check>> = {
  [`${POLICY_GROUP}/Server`]: parsed(parseServer),
  [`${POLICY_GROUP}/ServerAuthorization`]: parsed(parseServerAuthorization, ({ clients }) =>
    clients.kind === 'nobody' ? [`this ServerAuthorization authorizes nobody: ${clients.reason}`] : [],
  ),
  [`${POLICY_GROUP}/AuthorizationPolicy`]: parsed(parseAuthorizationPolicy),
  [`${POLICY_GROUP}/MeshTLSAuthentication`]: parsed(parseMeshTLSAuthentication),
  [`${POLICY_GROUP}/NetworkAuthentication`]: parsed(parseNetworkAuthentication),
  [`${POLICY_GROUP}/HTTPLocalRateLimitPolicy`]: parsed(parseHTTPLocalRateLimitPolicy),
  [`${POLICY_GROUP}/EgressNetwork`]: parsed(parseEgressNetwork, ({ annotations }) =>
    parseTrafficAnnotations(annotations).problems.map((problem) => `not in force: ${problem}`),
  ),
  [`${POLICY_GROUP}/HTTPRoute`]: requestRoute(parseHttpRoute),
  [`${GATEWAY_GROUP}/HTTPRoute`]: lenient(requestRoute(parseHttpRoute)),
  [`${GATEWAY_GROUP}/GRPCRoute`]: lenient(requestRoute(parseGrpcRoute)),
  [`${GATEWAY_GROUP}/TLSRoute`]: lenient(parsed(parseTlsRoute)),
  [`${GATEWAY_GROUP}/TCPRoute`]: lenient(parsed(parseTcpRoute)),
};

/** kubectl shows a warning in one line. */
const SHAPE_PROBLEMS_TOLD_MAX = 2;
