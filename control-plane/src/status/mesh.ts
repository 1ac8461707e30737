/**
 * XMesh of gateway.networking.x-k8s.io, the Gateway API's object that stands for a mesh: what this one says there of itself, and
 * where its conformance suite reads which tests to run.
 */
import type { KubeObject } from '@tulle/api';
import { accepted, type Condition, invalidParameters } from './conditions.ts';
import { CONTROLLER_NAME } from './route-status.ts';

/** All that the suite has tests of a mesh for; test/conformance runs them. In order, as the API asks. */
const SUPPORTED_FEATURES = [
  'GRPCRoute',
  'HTTPRoute',
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
  'Mesh',
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
].map((name) => ({ name }));

/** Others are the business of other controllers. */
export function isOurMesh({ spec }: KubeObject): boolean {
  return spec?.controllerName === CONTROLLER_NAME;
}

export function meshStatus({ spec }: KubeObject): { condition: Condition; supportedFeatures: { name: string }[] } {
  const condition = spec?.parametersRef
    ? invalidParameters('spec.parametersRef: found an object, and this mesh has none; `tulle install` sets it up')
    : accepted();
  return { condition, supportedFeatures: SUPPORTED_FEATURES };
}
