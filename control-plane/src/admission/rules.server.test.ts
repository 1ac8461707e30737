import { describe } from 'node:test';
import { POLICY, rulesOf } from './testing-rules.ts';

const server = (spec: object = {}) => ({ podSelector: {}, port: 80, ...spec });
const PROTOCOLS = ['unknown', 'HTTP/1', 'HTTP/2', 'gRPC', 'opaque', 'TLS'];
const ACCESS_POLICIES = [
  'deny',
  'audit',
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
];

describe('Server', () => {
  const { accepts, refuses } = rulesOf(POLICY, 'Server', 'v1beta3');
  accepts('all pods', server());
  accepts('what clients of other languages leave empty', server({ proxyProtocol: null, accessPolicy: null }));
  accepts('a named port', server({ port: 'grpc', podSelector: { matchLabels: { app: 'emoji' } } }));
  accepts('external workloads', { externalWorkloadSelector: { matchLabels: { app: 'vm' } }, port: 80 });
  accepts(
    'an expression',
    server({ podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'b'] }] } }),
  );
  for (const proxyProtocol of PROTOCOLS) accepts(`proxyProtocol ${proxyProtocol}`, server({ proxyProtocol }));
  for (const accessPolicy of ACCESS_POLICIES) accepts(`accessPolicy ${accessPolicy}`, server({ accessPolicy }));

  refuses(
    'another accessPolicy',
    server({ accessPolicy: 'foobar' }),
    /^spec\.accessPolicy: found "foobar", allowed is one of all-unauthenticated/,
  );
  refuses('another protocol', server({ proxyProtocol: 'garbanzo' }), /^spec\.proxyProtocol: found "garbanzo"/);
  refuses('port 0', server({ port: 0 }), /^spec\.port: found 0, allowed is 1 to 65535 or a port's name/);
  refuses('port 65536', server({ port: 65536 }), /^spec\.port: found 65536/);
  refuses('no port', { podSelector: {} }, /^spec\.port: found nothing/);
  refuses('no selector', { port: 80 }, /^spec\.podSelector: found nothing/);
  refuses('two selectors', server({ externalWorkloadSelector: {} }), /^spec\.externalWorkloadSelector: found \{\}/);
  refuses(
    'a label that is no text',
    server({ podSelector: { matchLabels: { app: 1 } } }),
    /^spec\.podSelector\.matchLabels/,
  );
  refuses(
    'an unknown operator',
    server({ podSelector: { matchExpressions: [{ key: 'app', operator: 'Like' }] } }),
    /^spec\.podSelector\.matchExpressions\[0\]\.operator: found "Like"/,
  );
  refuses('no spec', undefined, /^spec/);
});

for (const version of ['v1alpha1', 'v1beta1', 'v1beta2']) {
  describe(`Server ${version}`, () => {
    const { accepts, refuses } = rulesOf(POLICY, 'Server', version);
    accepts('a port of pods', server({ podSelector: { matchLabels: { app: 'emoji' } }, proxyProtocol: 'gRPC' }));
    refuses('another protocol', server({ proxyProtocol: 'garbanzo' }), /^spec\.proxyProtocol: found "garbanzo"/);
  });
}
