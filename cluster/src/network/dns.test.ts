import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { EndpointSlice, Service } from '@tulle/api';
import packet from 'dns-packet';
import fc from 'fast-check';
import { answerDns } from './dns-message.ts';
import { createDnsRecords, type DnsSource } from './dns-records.ts';
import { startDnsServer } from './dns-server.ts';

const DOMAIN = 'cluster.local';

function source(): DnsSource {
  const ports = [{ name: 'grpc', port: 8086, protocol: 'TCP' }];
  const services = [
    {
      metadata: { name: 'web', namespace: 'default' },
      spec: { clusterIP: '10.96.1.0', clusterIPs: ['10.96.1.0', 'fd96::100'], ports: [{ name: 'http', port: 80 }] },
    },
    { metadata: { name: 'db', namespace: 'default' }, spec: { clusterIP: 'None', clusterIPs: ['None'], ports } },
    {
      metadata: { name: 'all', namespace: 'default' },
      spec: { clusterIP: 'None', publishNotReadyAddresses: true, ports },
    },
    {
      metadata: { name: 'ext', namespace: 'default' },
      spec: { type: 'ExternalName', externalName: `web.default.svc.${DOMAIN}` },
    },
  ] as unknown as Service[];
  const endpoints = [
    { addresses: ['10.42.0.5'], hostname: 'db-0', conditions: { ready: true } },
    { addresses: ['10.42.0.6'], conditions: { ready: true } },
    { addresses: ['10.42.0.7'], conditions: { ready: false } },
  ];
  const slices = [{ metadata: { name: 's' }, addressType: 'IPv4', ports, endpoints }] as unknown as EndpointSlice[];
  return {
    service: (key) => services.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key),
    services: () => services,
    slices: () => slices,
    hasNamespace: (name) => name === 'default',
  };
}

const records = createDnsRecords(source(), DOMAIN);
const data = (name: string, type: string) => records.resolve(name, type).answers.map((answer) => answer.data);

test('names a Service by its addresses', () => {
  assert.deepEqual(data('web.default.svc.cluster.local', 'A'), ['10.96.1.0']);
  assert.deepEqual(data('web.default.svc.cluster.local', 'AAAA'), ['fd96::100']);
  assert.deepEqual(data('0.1.96.10.in-addr.arpa', 'PTR'), ['web.default.svc.cluster.local']);
  const reversed = `0.0.1.0.${'0.'.repeat(24)}6.9.d.f.ip6.arpa`;
  assert.deepEqual(data(reversed, 'PTR'), ['web.default.svc.cluster.local']);
});

test('names the ready endpoints of a headless Service, by host name or address', () => {
  assert.deepEqual(data('db.default.svc.cluster.local', 'A'), ['10.42.0.5', '10.42.0.6']);
  assert.deepEqual(data('db-0.db.default.svc.cluster.local', 'A'), ['10.42.0.5']);
  assert.deepEqual(data('10-42-0-6.db.default.svc.cluster.local', 'A'), ['10.42.0.6']);
  assert.deepEqual(data('all.default.svc.cluster.local', 'A').length, 3);
  assert.deepEqual(data('5.0.42.10.in-addr.arpa', 'PTR'), [
    'db-0.db.default.svc.cluster.local',
    'db-0.all.default.svc.cluster.local',
  ]);
});

test('answers SRV for a port and for the plain name, with the addresses beside', () => {
  for (const name of ['db.default.svc.cluster.local', '_grpc._tcp.db.default.svc.cluster.local']) {
    const { answers, additionals } = records.resolve(name, 'SRV');
    assert.deepEqual(
      answers.map(({ data }) => data),
      [
        { target: 'db-0.db.default.svc.cluster.local', port: 8086, priority: 0, weight: 50 },
        { target: '10-42-0-6.db.default.svc.cluster.local', port: 8086, priority: 0, weight: 50 },
      ],
    );
    assert.deepEqual(
      additionals.map(({ data }) => data),
      ['10.42.0.5', '10.42.0.6'],
    );
  }
  assert.equal(records.resolve('_grpc._udp.db.default.svc.cluster.local', 'SRV').exists, false);
});

test('follows ExternalName, and names pods by their dashed address', () => {
  assert.deepEqual(data('ext.default.svc.cluster.local', 'A'), ['web.default.svc.cluster.local', '10.96.1.0']);
  assert.deepEqual(data('10-42-0-5.default.pod.cluster.local', 'A'), ['10.42.0.5']);
  assert.equal(records.resolve('10-42-0-5.nowhere.pod.cluster.local', 'A').exists, false);
});

test('tells a name without such records from one that does not exist', () => {
  for (const name of [
    'svc.cluster.local',
    'default.svc.cluster.local',
    'cluster.local',
    'db.default.svc.cluster.local',
  ])
    assert.deepEqual(records.resolve(name, 'AAAA'), { exists: true, answers: [], additionals: [] });
  for (const name of [
    'no.default.svc.cluster.local',
    'web.no.svc.cluster.local',
    'a.web.default.svc.cluster.local',
    'example.com',
  ])
    assert.equal(records.resolve(name, 'A').exists, false);
});

function ask(name: string, type: packet.StringRecordType, overUdp = true, payload?: number) {
  const additionals = payload ? [{ type: 'OPT', name: '.', udpPayloadSize: payload, flags: 0, options: [] }] : [];
  const query = packet.encode({
    type: 'query',
    id: 7,
    questions: [{ name, type }],
    additionals,
  } as unknown as packet.Packet);
  return packet.decode(answerDns(query, records, DOMAIN, overUdp) ?? Buffer.alloc(0)) as packet.DecodedPacket & {
    rcode: string;
  };
}

test('sends NXDOMAIN and NODATA with the zone, in any case of letters', () => {
  assert.equal(ask('nothing.example.com', 'A').rcode, 'NXDOMAIN');
  const none = ask('DB.default.svc.cluster.local', 'AAAA');
  assert.equal(none.rcode, 'NOERROR');
  assert.equal(none.authorities?.[0]?.type, 'SOA');
  assert.equal(none.questions?.[0]?.name, 'DB.default.svc.cluster.local');
});

test('cuts what a UDP client cannot take, and leaves it whole over TCP', () => {
  const many = { ...source(), slices: () => [manyEndpoints()] };
  const wide = createDnsRecords(many, DOMAIN);
  const query = packet.encode({
    type: 'query',
    id: 7,
    questions: [{ name: 'db.default.svc.cluster.local', type: 'A' }],
  });
  const short = packet.decode(answerDns(query, wide, DOMAIN, true) ?? Buffer.alloc(0)) as packet.DecodedPacket;
  assert.equal(short.flag_tc, true);
  assert.equal(short.answers?.length, 0);
  const whole = packet.decode(answerDns(query, wide, DOMAIN, false) ?? Buffer.alloc(0));
  assert.equal(whole.answers?.length, 200);
});

function manyEndpoints(): EndpointSlice {
  const endpoints = Array.from({ length: 200 }, (_, i) => ({
    addresses: [`10.42.1.${i}`],
    conditions: { ready: true },
  }));
  return { metadata: { name: 's' }, addressType: 'IPv4', ports: [{ port: 1 }], endpoints } as unknown as EndpointSlice;
}

test('survives any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const answer = answerDns(Buffer.from(bytes), records, DOMAIN, true);
      assert.ok(answer === undefined || answer.length >= 12);
    }),
  );
});

test('serves the same over UDP and TCP', async () => {
  await using server = await startDnsServer({ records, domain: DOMAIN, addresses: ['127.0.0.1'], port: 0 });
  const query = packet.encode({
    type: 'query',
    id: 9,
    questions: [{ name: 'web.default.svc.cluster.local', type: 'A' }],
  });
  const udp = createSocket('udp4');
  udp.send(query, server.port, '127.0.0.1');
  const [overUdp] = (await once(udp, 'message')) as [Buffer];
  udp.close();
  const tcp = connect(server.port, '127.0.0.1');
  tcp.write(Buffer.concat([Buffer.from([0, query.length]), query]));
  const [overTcp] = (await once(tcp, 'data')) as [Buffer];
  tcp.destroy();
  assert.deepEqual(overTcp.subarray(2), overUdp);
});
