import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Service } from '@tulle/api';
import { addDifference, type Commands, NO_RULES } from './ruleset-difference.ts';
import { type ServiceRules, serviceRules } from './service-rules.ts';

const NODES = [
  { name: 'node-1', podCidrs: ['10.42.0.0/20', 'fd42::/64'] },
  { name: 'node-2', podCidrs: ['10.42.16.0/20', 'fd42:0:0:1::/64'] },
];

function service(spec: object = {}): Service {
  return {
    metadata: { name: 'web', namespace: 'ns' },
    spec: { clusterIPs: ['10.96.1.0', 'fd96::100'], ports: [{ name: 'http', port: 80 }], ...spec },
  } as Service;
}

function slice(addresses: string[], conditions: object = { ready: true }): EndpointSlice {
  return {
    metadata: { name: 'web-1' },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: addresses.map((address, i) => ({ addresses: [address], conditions, nodeName: `node-${i + 1}` })),
  } as EndpointSlice;
}

function difference(old: ServiceRules, next: ServiceRules, uses = new Map<string, number>()): string[] {
  const commands: Commands = { add: [], change: [], remove: [] };
  addDifference(commands, old, next, uses);
  return [...commands.add, ...commands.change, ...commands.remove];
}

test('balances each family over its own ready endpoints', () => {
  const rules = serviceRules(service(), [slice(['10.42.0.5', '10.42.0.6']), slice(['fd42::5'])], NODES);
  assert.deepEqual(rules.chains.get('svc4/ns/web/tcp/80'), [
    'meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.42.0.5 . 8080, 1 : 10.42.0.6 . 8080 }',
  ]);
  assert.deepEqual(rules.chains.get('svc6/ns/web/tcp/80'), ['meta l4proto tcp dnat ip6 to [fd42::5]:8080']);
  assert.equal(rules.elements.get('cluster-ips-4|10.96.1.0 . tcp . 80'), 'goto svc4/ns/web/tcp/80');
});

test('gives nothing to a Service without endpoints, so that its address is refused', () => {
  assert.equal(serviceRules(service(), [slice(['10.42.0.5'], { ready: false })], NODES).elements.size, 0);
  assert.equal(serviceRules(service({ clusterIPs: ['None'] }), [slice(['10.42.0.5'])], NODES).elements.size, 0);
});

test('falls back to endpoints that serve while they terminate', () => {
  const leaving = slice(['10.42.0.5'], { ready: false, serving: true, terminating: true });
  assert.equal(serviceRules(service(), [leaving], NODES).chains.size, 1);
});

test('keeps traffic of internalTrafficPolicy Local on the node of its client', () => {
  const local = service({ internalTrafficPolicy: 'Local' });
  const rules = serviceRules(local, [slice(['10.42.0.5', '10.42.16.6'])], NODES);
  assert.deepEqual(rules.chains.get('svc4/ns/web/tcp/80'), [
    'ip saddr 10.42.0.0/20 meta l4proto tcp dnat ip to 10.42.0.5:8080',
    'ip saddr 10.42.16.0/20 meta l4proto tcp dnat ip to 10.42.16.6:8080',
  ]);
});

test('remembers the endpoint of each client with sessionAffinity', () => {
  const rules = serviceRules(service({ sessionAffinity: 'ClientIP' }), [slice(['10.42.0.5', '10.42.0.6'])], NODES);
  assert.equal(rules.sets.size, 2);
  assert.equal(rules.chains.size, 3);
  const [first] = rules.chains.get('svc4/ns/web/tcp/80') ?? [];
  assert.match(first ?? '', /^ip saddr @svc4\S+ goto svc4/);
});

test('changes only what is different', () => {
  const one = serviceRules(service(), [slice(['10.42.0.5'])], NODES);
  const two = serviceRules(service(), [slice(['10.42.0.6'])], NODES);
  const uses = new Map<string, number>();
  difference(NO_RULES, one, uses);
  assert.deepEqual(difference(one, serviceRules(service(), [slice(['10.42.0.5'])], NODES), uses), []);
  const changes = difference(one, two, uses);
  assert.ok(changes.every((line) => !line.includes('cluster-ips')));
  assert.ok(changes.includes('delete element inet tulle-services hairpins-4 { 10.42.0.5 . 10.42.0.5 }'));
});

test('removes an element when the last Service that shares it goes', () => {
  const a = serviceRules(service(), [slice(['10.42.0.5'])], NODES);
  const other = { ...service({ clusterIPs: ['10.96.1.1'] }), metadata: { name: 'other', namespace: 'ns' } } as Service;
  const b = serviceRules(other, [slice(['10.42.0.5'])], NODES);
  const uses = new Map<string, number>();
  difference(NO_RULES, a, uses);
  difference(NO_RULES, b, uses);
  const removesHairpin = (lines: string[]) => lines.some((line) => /delete element .* hairpins-4/.test(line));
  assert.equal(removesHairpin(difference(a, NO_RULES, uses)), false);
  assert.equal(removesHairpin(difference(b, NO_RULES, uses)), true);
});
