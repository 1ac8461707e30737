import { describe } from 'node:test';
import { POLICY, refTo, rulesOf } from './testing-rules.ts';

const { accepts, refuses } = rulesOf(POLICY, 'HTTPLocalRateLimitPolicy', 'v1alpha1');
const limit = (spec: object, targetRef: object = refTo('Server')) => ({ targetRef, ...spec });
const rps = (requestsPerSecond: number) => ({ requestsPerSecond });
const account = { group: '', kind: 'ServiceAccount', name: 'web', namespace: 'linkerd' };
const override = (requestsPerSecond: number, ref: object = account) => [{ requestsPerSecond, clientRefs: [ref] }];

describe('HTTPLocalRateLimitPolicy', () => {
  accepts('a total', limit({ total: rps(1000) }));
  accepts('all of it', limit({ total: rps(1000), identity: rps(100), overrides: override(200) }));
  accepts('an identity as fast as all', limit({ total: rps(100), identity: rps(100), overrides: override(100) }));
  accepts('no total', limit({ identity: rps(10), overrides: override(20) }));
  accepts('no limit', limit({}));
  accepts('a client of its own namespace', limit({ overrides: override(1, { kind: 'ServiceAccount', name: 'web' }) }));

  refuses('a route', limit({ total: rps(1) }, refTo('HTTPRoute')), /^spec\.targetRef: /);
  refuses('a Deployment', limit({ total: rps(1) }, refTo('Deployment', 'api', 'apps')), /^spec\.targetRef: /);
  refuses('a Server of no group', limit({}, { kind: 'Server', name: 'web' }), /^spec\.targetRef: /);
  refuses('no target', { total: rps(1) }, /^spec\.targetRef: found nothing/);
  refuses('a total of nothing', limit({ total: rps(0) }), /^spec\.total\.requestsPerSecond: found 0, allowed is 1 to/);
  refuses('a negative total', limit({ total: rps(-1) }), /^spec\.total\.requestsPerSecond: found -1/);
  refuses('an identity of nothing', limit({ identity: rps(0) }), /^spec\.identity\.requestsPerSecond: found 0/);
  refuses(
    'an override of nothing',
    limit({ overrides: override(0) }),
    /^spec\.overrides\[0\]\.requestsPerSecond: found 0/,
  );
  refuses(
    'an identity above the total',
    limit({ total: rps(1000), identity: rps(2000), overrides: override(200) }),
    /^spec\.identity\.requestsPerSecond: found 2000, allowed is 1 to 1000, the total/,
  );
  refuses(
    'an override above the total',
    limit({ total: rps(1000), overrides: override(2000) }),
    /^spec\.overrides\[0\]\.requestsPerSecond: found 2000, allowed is 1 to 1000, the total/,
  );
  refuses(
    'an override for a Namespace',
    limit({ overrides: override(1, { kind: 'Namespace', name: 'app' }) }),
    /^spec\.overrides\[0\]\.clientRefs\[0\]: /,
  );
  refuses('an override for nobody', limit({ overrides: [rps(1)] }), /^spec\.overrides\[0\]\.clientRefs: found nothing/);
});
