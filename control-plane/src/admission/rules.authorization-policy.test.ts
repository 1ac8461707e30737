import { describe } from 'node:test';
import { GATEWAY, POLICY, refTo, rulesOf } from './testing-rules.ts';

const { accepts, refuses } = rulesOf(POLICY, 'AuthorizationPolicy', 'v1alpha1');
const policy = (targetRef: object, ...requiredAuthenticationRefs: object[]) => ({
  targetRef,
  requiredAuthenticationRefs,
});
const server = refTo('Server');
const mtls = refTo('MeshTLSAuthentication');
const network = refTo('NetworkAuthentication');
const account = { kind: 'ServiceAccount', name: 'web', namespace: 'other' };

describe('target of an AuthorizationPolicy', () => {
  accepts('a Server', policy(server, mtls));
  accepts('its own namespace', policy({ kind: 'Namespace', name: 'app' }, mtls));
  accepts('its own namespace in the group core', policy({ group: 'core', kind: 'Namespace', name: 'app' }, mtls));
  accepts('an HTTPRoute of our group', policy(refTo('HTTPRoute'), mtls));
  accepts('a kind in other letters', policy(refTo('HttpRoute'), mtls));
  accepts('an HTTPRoute of the Gateway API', policy(refTo('HTTPRoute', 'web', GATEWAY), mtls));
  accepts('a GRPCRoute', policy(refTo('GRPCRoute', 'web', GATEWAY), mtls));

  refuses(
    'another namespace',
    policy({ kind: 'Namespace', name: 'other' }, mtls),
    /^spec\.targetRef\.name: found "other", allowed is app/,
  );
  refuses('a Service', policy({ group: '', kind: 'Service', name: 'web' }, mtls), /^spec\.targetRef: /);
  refuses('a Deployment', policy(refTo('Deployment', 'web', 'apps'), network), /^spec\.targetRef: /);
  refuses('a GRPCRoute of our group', policy(refTo('GRPCRoute'), mtls), /^spec\.targetRef: /);
  refuses('a Server of no group', policy({ kind: 'Server', name: 'web' }, mtls), /^spec\.targetRef: /);
  refuses('nothing', { requiredAuthenticationRefs: [] }, /^spec\.targetRef: found nothing/);
  refuses(
    'a reference without a name',
    policy({ group: POLICY, kind: 'Server' }),
    /^spec\.targetRef\.name: found nothing/,
  );
});

describe('authentications of an AuthorizationPolicy', () => {
  accepts('none at all', policy(server));
  accepts('an identity', policy(server, mtls));
  accepts('a network', policy(server, { ...network, namespace: 'linkerd' }));
  accepts('an identity and a network', policy(server, mtls, network));
  accepts('a ServiceAccount and a network', policy(server, account, network));
  accepts('an authentication elsewhere', policy(server, { ...mtls, namespace: 'other' }));
  accepts('a namespace that is empty, which is its own', policy(server, { ...mtls, namespace: '' }));

  const second = /^spec\.requiredAuthenticationRefs\[1\]: found .* at most one NetworkAuthentication, and one/;
  refuses('two MeshTLSAuthentications', policy(server, mtls, { ...mtls, name: 'b', namespace: 'other' }), second);
  refuses('two ServiceAccounts', policy(server, account, { ...account, name: 'b' }), second);
  refuses('a MeshTLSAuthentication and a ServiceAccount', policy(server, mtls, account), second);
  refuses('two NetworkAuthentications', policy(server, network, { ...network, name: 'b' }), second);
  refuses('another kind', policy(server, server), /^spec\.requiredAuthenticationRefs\[0\]: /);
  refuses('no list', { targetRef: server }, /^spec\.requiredAuthenticationRefs: found nothing/);
});
