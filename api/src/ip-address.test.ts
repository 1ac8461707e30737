import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import test from 'node:test';
import fc from 'fast-check';
import { canonicalIp, formatIp, networkContains, parseIp, parseNetwork } from './ip-address.ts';

test('writes an address in its one form', () => {
  const forms = {
    '10.0.0.1': '10.0.0.1',
    'fd42:0000:0000::0001': 'fd42::1',
    'FD42::A:0:0:B': 'fd42::a:0:0:b',
    '1:0:0:2:0:0:0:3': '1:0:0:2::3',
    '1:0:2:3:4:5:6:7': '1:0:2:3:4:5:6:7',
    '::': '::',
    '::ffff:10.1.2.3': '10.1.2.3',
    '64:ff9b::10.1.2.3': '64:ff9b::a01:203',
    'not an address': 'not an address',
    'fe80::1%eth0': 'fe80::1%eth0',
  };
  for (const [text, form] of Object.entries(forms)) assert.equal(canonicalIp(text), form);
});

test('reads back every address that it writes', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      fc.pre(isIPv6(text));
      const address = parseIp(text)!;
      assert.deepEqual(parseIp(formatIp(address)), address);
    }),
  );
});

test('knows which addresses a network holds', () => {
  const holds = (network: string, ip: string) => networkContains(parseNetwork(network)!, parseIp(ip)!);
  assert.ok(holds('10.0.0.0/8', '10.255.0.1'));
  assert.ok(!holds('10.0.0.0/8', '11.0.0.1'));
  assert.ok(holds('0.0.0.0/0', '1.2.3.4'));
  assert.ok(!holds('0.0.0.0/0', 'fd00::1'));
  assert.ok(holds('fd00::/8', 'fdff::1'));
  assert.ok(holds('10.0.0.1', '10.0.0.1'));
  for (const bad of ['10.0.0.0/33', '10.0.0.0/', '10.0.0/8', 'fd00::/129', '10.0.0.0/8/8', '::ffff:10.0.0.0/104', '']) {
    assert.equal(parseNetwork(bad), undefined, bad);
  }
});
