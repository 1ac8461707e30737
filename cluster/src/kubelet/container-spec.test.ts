import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod } from '@tulle/api';
import { AddressPool } from './address-pool.ts';
import { resourceValue } from './downward.ts';
import { containerEnvironment, type EnvironmentSource, expand } from './environment.ts';
import { findImage } from './images.ts';
import { hosts, resolvConf } from './pod-files.ts';
import { containerIdentity, parseUidMap } from './security.ts';

const pod = (spec: object = {}, metadata: object = {}) =>
  ({
    metadata: { name: 'web-0', namespace: 'ns', labels: { app: 'web' }, ...metadata },
    spec: { containers: [], ...spec },
    status: { podIP: '10.42.0.5' },
  }) as unknown as Pod;
const container = (fields: object = {}) => ({ name: 'c', image: 'busybox', ...fields }) as Container;

const objects: EnvironmentSource = {
  configMap: (key) => (key === 'ns/cm' ? ({ metadata: { name: 'cm' }, data: { A: '1', B: '2' } } as never) : undefined),
  secret: (key) => (key === 'ns/s' ? ({ metadata: { name: 's' }, data: { K: 'djE=' } } as never) : undefined),
  services: () => [
    {
      metadata: { name: 'kubernetes', namespace: 'default' },
      spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] },
    } as never,
    {
      metadata: { name: 'my-db', namespace: 'ns' },
      spec: { clusterIP: '10.96.1.0', ports: [{ port: 5432 }] },
    } as never,
    { metadata: { name: 'far', namespace: 'other' }, spec: { clusterIP: '10.96.1.1', ports: [{ port: 1 }] } } as never,
  ],
};

test('takes variables from maps, secrets, fields and each other', () => {
  const env = containerEnvironment(
    pod(),
    container({
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'cm' } }, { secretRef: { name: 'gone', optional: true } }],
      env: [
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'SECRET', valueFrom: { secretKeyRef: { name: 's', key: 'K' } } },
        { name: 'ALL', value: '$(IP)/$(SECRET)/$(P_A)/$(LATER)/$$(IP)' },
        { name: 'LATER', value: 'x' },
      ],
    }),
    objects,
  );
  assert.equal(env.get('ALL'), '10.42.0.5/v1/1/$(LATER)/$(IP)');
  assert.equal(env.get('APP'), 'web');
  assert.equal(env.get('MY_DB_SERVICE_HOST'), '10.96.1.0');
  assert.equal(env.get('KUBERNETES_SERVICE_PORT_HTTPS'), '443');
  assert.equal(env.get('FAR_SERVICE_HOST'), undefined);
});

test('says which key or object is missing', () => {
  const from = (valueFrom: object) => () =>
    containerEnvironment(pod(), container({ env: [{ name: 'X', valueFrom }] }), objects);
  assert.throws(from({ configMapKeyRef: { name: 'cm', key: 'Z' } }), /couldn't find key Z in configmap "cm"/);
  assert.throws(from({ secretKeyRef: { name: 'no', key: 'Z' } }), /secret "no" not found/);
});

test('expands only what it knows', () => {
  assert.equal(expand('$(A) $(B) $$(A) $A $', new Map([['A', 'a']])), 'a $(B) $(A) $A $');
});

test('reads quantities and counts resources in their divisor', () => {
  const limited = container({ resources: { limits: { cpu: '1500m', memory: '64Mi' } } });
  assert.equal(resourceValue(pod(), limited, { resource: 'limits.cpu' }), '2');
  assert.equal(resourceValue(pod(), limited, { resource: 'limits.memory', divisor: '1Mi' }), '64');
});

test('runs as who the pod, the container or the image says', () => {
  const all = { count: 65_536 };
  assert.equal(containerIdentity(pod(), container(), { user: 2102 }, all).user?.uid, 2102);
  const shared = pod({ securityContext: { runAsUser: 1, runAsGroup: 3, fsGroup: 4 } });
  assert.deepEqual(containerIdentity(shared, container(), {}, all).user, { uid: 1, gid: 3, groups: [3, 4] });
  const own = container({ securityContext: { runAsUser: 5 } });
  assert.equal(containerIdentity(shared, own, {}, all).user?.uid, 5);
  assert.throws(
    () => containerIdentity(pod({ securityContext: { runAsNonRoot: true } }), container(), {}, all),
    /runAsNonRoot/,
  );
});

test('grants added capabilities to users who are not root, and takes dropped ones', () => {
  const NET_ADMIN = 12;
  const capabilities = { drop: ['ALL'], add: ['NET_ADMIN'] };
  const identity = containerIdentity(pod(), container({ securityContext: { capabilities } }), {}, { count: 65_536 });
  assert.deepEqual([identity.capabilities, identity.ambient], [[NET_ADMIN], [NET_ADMIN]]);
  const wrong = container({ securityContext: { capabilities: { add: ['FLY'] } } });
  assert.throws(() => containerIdentity(pod(), wrong, {}, { count: 65_536 }), /unknown capability "FLY"/);
});

test('knows which uid it has not', () => {
  const one = parseUidMap('         0      65534          1\n');
  assert.deepEqual(one, { count: 1 });
  assert.equal(containerIdentity(pod(), container(), { user: 2102 }, one).missingUid, 2102);
  assert.equal(containerIdentity(pod(), container(), {}, one).missingUid, undefined);
  assert.deepEqual(parseUidMap('0 1000 1\n1 100000 65535\n'), { count: 65_536 });
});

test('finds images whatever their tag, digest or default registry', () => {
  const images = { busybox: {}, 'tulle/proxy': { user: 2102 } };
  for (const name of ['busybox', 'busybox:1.36', 'docker.io/library/busybox@sha256:00', 'library/busybox'])
    assert.equal(findImage(images, name), images.busybox);
  assert.equal(findImage(images, 'tulle/proxy:0.1.0'), images['tulle/proxy']);
  assert.equal(findImage(images, 'localhost:5000/busybox'), undefined);
});

test('hands out every address once, and freed ones last', () => {
  const pool = new AddressPool(['10.42.0.0/29', 'fd42:0:0:0::/64']);
  const got = Array.from({ length: 5 }, () => pool.allocate());
  assert.deepEqual(got[0]?.addresses, ['10.42.0.2', 'fd42::2']);
  assert.equal(new Set(got.map(({ addresses }) => addresses[0])).size, 5);
  assert.throws(() => pool.allocate(), /no free address/);
  pool.release(3);
  assert.equal(pool.allocate().addresses[0], '10.42.0.3');
});

test('writes resolv.conf by dnsPolicy, and hosts with the subdomain', () => {
  const names = { clusterDomain: 'cluster.local', dnsAddress: '10.96.0.10' };
  assert.equal(
    resolvConf(pod(), names),
    'nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n',
  );
  const own = { dnsPolicy: 'None', dnsConfig: { nameservers: ['1.2.3.4'], options: [{ name: 'ndots', value: '1' }] } };
  assert.equal(resolvConf(pod(own), names), 'nameserver 1.2.3.4\noptions ndots:1\n');
  assert.match(
    hosts(pod({ subdomain: 'db' }), ['10.42.0.5'], 'cluster.local'),
    /10\.42\.0\.5\tweb-0\.db\.ns\.svc\.cluster\.local\tweb-0\n/,
  );
});
