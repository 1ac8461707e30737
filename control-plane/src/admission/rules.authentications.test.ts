import { describe } from 'node:test';
import { BAD_NETWORKS, NETWORKS, POLICY, rulesOf } from './testing-rules.ts';

describe('MeshTLSAuthentication', () => {
  const { accepts, refuses } = rulesOf(POLICY, 'MeshTLSAuthentication', 'v1alpha1');
  const identities = (...all: string[]) => ({ identities: all });
  const refs = (...identityRefs: object[]) => ({ identityRefs });

  accepts('everybody with an identity', identities('*'));
  accepts('a suffix', identities('*.app.serviceaccount.identity.linkerd.cluster.local'));
  accepts('a name', identities('web.app.serviceaccount.identity.linkerd.cluster.local', 'example.id'));
  accepts('a SPIFFE id', identities('spiffe://trust.example/web', 'spiffe://trust.example'));
  accepts('a ServiceAccount', refs({ kind: 'ServiceAccount', name: 'web', namespace: 'other' }));
  accepts('a ServiceAccount of its namespace', refs({ kind: 'ServiceAccount', name: 'default' }));
  accepts('the same with an empty namespace', refs({ kind: 'ServiceAccount', name: 'default', namespace: '' }));
  accepts('a Namespace', refs({ kind: 'Namespace', name: 'app' }));

  for (const name of ['web.*.local', 'Web.app', '', '**', 'local.*', 'local.', '.local', 'a..b']) {
    refuses(`the name "${name}"`, identities(name), /^spec\.identities\[0\]: found ".*", allowed is \*, a suffix/);
  }
  for (const id of [
    'http://domain.test/path',
    'spiffe:/path',
    'spiffe:path',
    'spiffe:///path',
    'spiffe://td/',
    'spiffe://td//a',
    'spiffe://td/a/',
    'spiffe://td/./a',
    'spiffe://td/../a',
    'spiffe://td/a?b=',
    'spiffe://td/a#b',
    'spiffe://td:8080/a',
    'spiffe://user@td/a',
  ]) {
    refuses(`the id ${id}`, identities(id), /^spec\.identities\[0\]: found ".*", allowed is .*spiffe:\/\/ URI/);
  }
  refuses('another kind', refs({ kind: 'Service', name: 'web' }), /^spec\.identityRefs\[0\]: /);
  refuses(
    'a reference without a name',
    refs({ kind: 'ServiceAccount' }),
    /^spec\.identityRefs\[0\]\.name: found nothing/,
  );
  refuses(
    'a Namespace in a namespace',
    refs({ kind: 'Namespace', name: 'app', namespace: 'app' }),
    /^spec\.identityRefs\[0\]\.namespace: found "app"/,
  );
  refuses('an empty list', identities(), /^spec\.identities: found \[\], allowed is at least one/);
  refuses('an empty list of references', refs(), /^spec\.identityRefs: found \[\], allowed is at least one/);
  refuses('nothing', {}, /^spec\.identities: found nothing, allowed is one of/);
  refuses('both', { ...identities('*'), ...refs({ kind: 'Namespace', name: 'app' }) }, /^spec\.identityRefs: /);
});

describe('NetworkAuthentication', () => {
  const { accepts, refuses } = rulesOf(POLICY, 'NetworkAuthentication', 'v1alpha1');
  for (const [what, networks] of NETWORKS) accepts(what, { networks });
  for (const [what, networks, message] of BAD_NETWORKS) refuses(what, { networks }, message);
  refuses('no networks', { networks: [] }, /^spec\.networks: found \[\], allowed is at least one network/);
  refuses('nothing', {}, /^spec\.networks: found nothing/);
});
