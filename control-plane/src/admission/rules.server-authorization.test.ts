import { describe } from 'node:test';
import { BAD_NETWORKS, NETWORKS, POLICY, rulesOf } from './testing-rules.ts';

const { accepts, refuses, warns } = rulesOf(POLICY, 'ServerAuthorization', 'v1beta1');
const saz = (client: object, server: object = { name: 'web' }) => ({ server, client });
const anybody = { unauthenticated: true };

describe('servers of a ServerAuthorization', () => {
  accepts('a name', saz(anybody));
  accepts('a selector', saz(anybody, { selector: { matchLabels: { app: 'web' } } }));
  accepts('labels right in the selector', saz(anybody, { selector: { 'app-kind': 'internal' } }));

  refuses('nothing', { client: anybody }, /^spec\.server: found nothing/);
  refuses('a name and a selector', saz(anybody, { name: 'web', selector: {} }), /^spec\.server\.selector: found \{\}/);
});

describe('clients of a ServerAuthorization', () => {
  accepts('anybody', saz(anybody));
  accepts('anybody, and meshTLS that is empty', saz({ ...anybody, meshTLS: null }));
  accepts('TLS without identity', saz({ meshTLS: { unauthenticatedTLS: true } }));
  accepts('identities', saz({ meshTLS: { identities: ['*', '*.app.example', 'web.app'] } }));
  accepts('ServiceAccounts', saz({ meshTLS: { serviceAccounts: [{ name: 'web' }, { name: 'b', namespace: 'c' }] } }));
  accepts('ServiceAccounts beside an empty meshTLS', saz({ meshTLS: null, serviceAccounts: [{ name: 'web' }] }));
  for (const [what, networks] of NETWORKS) accepts(what, saz({ ...anybody, networks }));

  warns('nobody', saz({}), /authorizes nobody: spec\.client: names no clients/);
  warns('nobody over TLS', saz({ meshTLS: null }), /authorizes nobody: spec\.client: names no clients/);
  warns('an empty meshTLS', saz({ meshTLS: {} }), /authorizes nobody: spec\.client\.meshTLS: names no clients/);

  const mesh = { identities: ['*'] };
  refuses('unauthenticated and meshTLS', saz({ ...anybody, meshTLS: mesh }), /^spec\.client\.meshTLS: found/);
  refuses(
    'unauthenticated and an empty meshTLS',
    saz({ ...anybody, meshTLS: {} }),
    /^spec\.client\.meshTLS: found \{\}/,
  );
  refuses(
    'unauthenticatedTLS and identities',
    saz({ meshTLS: { unauthenticatedTLS: true, ...mesh } }),
    /^spec\.client\.meshTLS\.unauthenticatedTLS: found true/,
  );
  refuses(
    'unauthenticatedTLS and ServiceAccounts',
    saz({ meshTLS: { unauthenticatedTLS: true, serviceAccounts: [{ name: 'web' }] } }),
    /^spec\.client\.meshTLS\.unauthenticatedTLS: found true/,
  );
  refuses('an identity that is none', saz({ meshTLS: { identities: ['Web!'] } }), /identities\[0\]: found "Web!"/);
  refuses(
    'a ServiceAccount without a name',
    saz({ meshTLS: { serviceAccounts: [{ namespace: 'app' }] } }),
    /serviceAccounts\[0\]\.name: found nothing/,
  );
  refuses('nothing', { server: { name: 'web' } }, /^spec\.client: found nothing/);
  for (const [what, networks, message] of BAD_NETWORKS) refuses(what, saz({ ...anybody, networks }), message);
});
