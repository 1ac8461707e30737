import { describe } from 'node:test';
import { BAD_NETWORKS, NETWORKS, POLICY, rulesOf } from './testing-rules.ts';

const { accepts, refuses, warns } = rulesOf(POLICY, 'EgressNetwork', 'v1alpha1');
const egress = (spec: object = {}) => ({ trafficPolicy: 'Allow', ...spec });

describe('EgressNetwork', () => {
  accepts('everything outside the cluster', { trafficPolicy: 'Deny' });
  accepts('networks that a client leaves empty', egress({ networks: null }));
  for (const [what, networks] of NETWORKS) accepts(what, egress({ networks }));

  refuses(
    'another policy',
    egress({ trafficPolicy: 'Log' }),
    /^spec\.trafficPolicy: found "Log", allowed is one of Allow, Deny/,
  );
  refuses('no policy', {}, /^spec\.trafficPolicy: found nothing/);
  refuses('no networks', egress({ networks: [] }), /^spec\.networks: found \[\], allowed is at least one network/);
  for (const [what, networks, message] of BAD_NETWORKS) refuses(what, egress({ networks }), message);

  warns(
    'annotations that are not read',
    egress(),
    /^not in force: metadata\.annotations\[timeout\.linkerd\.io\/request\]: found "soon"/,
    { 'timeout.linkerd.io/request': 'soon' },
  );
});
