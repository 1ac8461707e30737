import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import { OutboundPolicySchema as OverlaySchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import { stringify } from 'yaml';
import { inboundJson, outboundJson } from './policy.ts';

const named = (kind: string, name: string) => ({
  kind: { case: 'resource' as const, value: { group: 'policy.linkerd.io', kind, name } },
});

test('an inbound policy is printed with its networks and identities as people write them', () => {
  const server = create(ServerSchema, {
    protocol: { kind: { case: 'grpc', value: {} } },
    authorizations: [
      {
        networks: [{ net: { ip: { ip: { case: 'ipv4', value: 0x0a000000 } }, prefixLen: 8 } }],
        authentication: {
          permit: {
            case: 'meshTLS',
            value: { clients: { case: 'identities', value: { identities: [{ name: 'web.shop' }] } } },
          },
        },
        metadata: named('serverauthorization', 'web'),
      },
    ],
    labels: { name: 'emoji-grpc' },
  });
  assert.equal(
    stringify(inboundJson(server)),
    `protocol:
  grpc: {}
authorizations:
  - networks:
      - net: 10.0.0.0/8
    authentication:
      meshTLS:
        identities:
          identities:
            - name: web.shop
    metadata:
      resource:
        group: policy.linkerd.io
        kind: serverauthorization
        name: web
labels:
  name: emoji-grpc
`,
  );
});

test('what an outbound policy says beyond the proxy API is printed too', () => {
  const plain = create(OutboundPolicySchema, { metadata: named('Service', 'web') });
  assert.equal((outboundJson(plain) as Record<string, unknown>).tulle, undefined);
  const urlRewrite = { host: 'v1.example', path: { case: 'prefix' as const, value: '/v2' } };
  const overlay = create(OverlaySchema, { httpRules: [{ rule: 1, hasRefusal: true, urlRewrite }] });
  const bytes = Buffer.concat([toBinary(OutboundPolicySchema, plain), toBinary(OverlaySchema, overlay)]);
  const json = outboundJson(fromBinary(OutboundPolicySchema, bytes)) as Record<string, unknown>;
  const rules = [{ rule: 1, hasRefusal: true, urlRewrite: { host: 'v1.example', prefix: '/v2' } }];
  assert.deepEqual(json.tulle, { httpRules: rules });
  assert.deepEqual(Object.keys(json), ['metadata', 'tulle']);
});
