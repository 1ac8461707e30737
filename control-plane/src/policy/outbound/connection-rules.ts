/** Rules for whole connections: those of TLSRoutes and TCPRoutes, and those that hold where there are none. */
import type { TcpRoute } from '@tulle/api/routes/tcp-route.ts';
import type { TlsRoute } from '@tulle/api/routes/tls-route.ts';
import { type BackendContext, parentBackend, resolveBackend } from './backends.ts';
import type { ConnectionPolicyRoute, ConnectionPolicyRule } from './outbound-policy.ts';

export function connectionRoute(context: BackendContext, route: TlsRoute | TcpRoute): ConnectionPolicyRoute {
  const rules = route.rules.map((rule): ConnectionPolicyRule => {
    const named = rule.backends.map((backend) =>
      resolveBackend({ ...context, penalty: undefined }, route.ref, backend),
    );
    return {
      field: rule.field,
      backends: named.length > 0 ? named : [parentBackend(context)],
      isWeighted: named.length > 0,
      ...(rule.invalid === undefined ? {} : { refusal: { kind: 'invalid', message: rule.invalid } }),
    };
  });
  return { source: { kind: 'object', ref: route.ref }, hostnames: route.hostnames, rules };
}

/** What takes every connection that no route takes. */
export function defaultConnectionRoute(
  context: BackendContext,
  name: string,
  isForbidden = false,
): ConnectionPolicyRoute {
  const rule: ConnectionPolicyRule = {
    backends: [parentBackend(context)],
    isWeighted: false,
    ...(isForbidden ? { refusal: { kind: 'forbidden' } } : {}),
  };
  return { source: { kind: 'default', name }, hostnames: [], rules: [rule] };
}
