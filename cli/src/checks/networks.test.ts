import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containsAddress, containsNetwork, parseNetworks } from './networks.ts';

const networks = parseNetworks('10.0.0.0/8, fd00::/8');

test('knows addresses and networks of both families', () => {
  for (const inside of ['10.255.0.1', 'fd42::1']) assert.ok(containsAddress(networks, inside), inside);
  for (const outside of ['11.0.0.1', 'fe80::1']) assert.ok(!containsAddress(networks, outside), outside);
  for (const inside of ['10.42.0.0/16', '10.0.0.0/8', 'fd42:0:0:1::/64', 'fd00::/8'])
    assert.ok(containsNetwork(networks, inside), inside);
  for (const outside of ['10.0.0.0/7', '192.168.0.0/16', 'fc00::/7'])
    assert.ok(!containsNetwork(networks, outside), outside);
});

test('a network that is none is named', () => {
  assert.throws(() => parseNetworks('10.0.0.0/99'), /"10.0.0.0\/99" is not a network/);
});
