import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { UpdateSchema } from '@tulle/api/gen/destination_pb.ts';
import { NetworkSchema } from '@tulle/api/gen/inbound_pb.ts';
import { obfuscate } from '../diagnostics/metrics.ts';
import { ipv6Text, readableJson } from './control-plane-rpc.ts';

test('shows addresses as people write them', () => {
  const ipv6 = { first: 0xfd42_0000_0000_0000n, last: 9n };
  const message = create(UpdateSchema, {
    update: {
      case: 'remove',
      value: {
        addrs: [
          { ip: { ip: { case: 'ipv4', value: 0x0a2a0004 } }, port: 8080 },
          { ip: { ip: { case: 'ipv6', value: ipv6 } }, port: 1 },
        ],
      },
    },
  });
  assert.deepEqual(readableJson(UpdateSchema, message), { remove: { addrs: ['10.42.0.4:8080', '[fd42::9]:1'] } });
  assert.equal(ipv6Text(0n, 1n), '::1');
  const networks = [
    { ip: { ip: { case: 'ipv4' as const, value: 0x0a000000 } }, prefixLen: 8 },
    { ip: { ip: { case: 'ipv4' as const, value: 0 } }, prefixLen: 0 },
  ];
  assert.deepEqual(readableJson(NetworkSchema, create(NetworkSchema, { net: networks[0]!, except: [networks[1]!] })), {
    net: '10.0.0.0/8',
    except: ['0.0.0.0/0'],
  });
});

test('hides names of the user, and keeps what they were the same for', () => {
  const line =
    'response_total{direction="outbound",dst_pod="web-1",pod="web-1",tls="true",target_addr="10.0.0.1:80"} 1';
  const hidden = obfuscate(line);
  assert.doesNotMatch(hidden, /web-1|10\.0\.0\.1/);
  assert.match(hidden, /direction="outbound",dst_pod="([0-9a-f]{8})",pod="\1",tls="true"/);
});
