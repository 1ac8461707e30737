/** What holds of outbound policies whatever happens in whatever order. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import fc from 'fast-check';
import {
  client,
  clusterService,
  EGRESS_PARENT,
  egressNetwork,
  OutboundWorld,
  route,
  SERVICE_PARENT,
  toTarget,
  type WorldObject,
} from '../../testing/outbound-world.ts';
import type { PolicyReader } from './shared-policies.ts';

const backendRefs = [
  { name: 'v1', port: 80, weight: 3 },
  { name: 'db', namespace: 'data', port: 80 },
];
const anyPort = [{ ...SERVICE_PARENT, port: undefined }];
const grant = {
  metadata: { name: 'g', namespace: 'data' },
  spec: {
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'app' }],
    to: [{ group: '', kind: 'Service' }],
  },
} as KubeObject;

const splitOf = (more: object): WorldObject => [
  'traffic-split',
  {
    metadata: { name: 's', namespace: 'app' },
    spec: { service: 'web', backends: [{ service: 'v1', weight: 1 }], ...more },
  },
];
const routeGroup = (pathRegex: string): WorldObject => [
  'route-group',
  { metadata: { name: 'g', namespace: 'app' }, spec: { matches: [{ name: 'm', pathRegex }] } },
];

/** Of each object the states that it may be in. */
const OBJECTS: readonly (readonly WorldObject[])[] = [
  [
    clusterService('web', '10.96.0.1'),
    clusterService('web', '10.96.0.1', { annotations: { 'timeout.linkerd.io/idle': '1s' } }),
  ],
  [
    clusterService('v1', '10.96.0.2'),
    clusterService('v1', '10.96.0.2', { annotations: { 'balancer.tulle.mesh/hash-header': 'x' } }),
  ],
  [clusterService('db', '10.96.0.3', { namespace: 'data' })],
  [route('http', 'a', [{ backendRefs }]), route('http', 'a', [{}], { parents: [EGRESS_PARENT] })],
  [route('policy-http', 'a', [{ backendRefs }], { parents: anyPort, createdAt: 1 })],
  [
    route('http', 'b', [{ name: 'named', filters: [{ type: 'URLRewrite', urlRewrite: { hostname: 'x.y' } }] }], {
      namespace: 'shop',
    }),
  ],
  [route('grpc', 'c', [{ backendRefs }], { parents: [{ ...SERVICE_PARENT, port: 81 }] })],
  [route('tls', 'd', [{}], { parents: [EGRESS_PARENT], hostnames: ['a.example'] })],
  [
    egressNetwork('outside', { trafficPolicy: 'Deny' }),
    egressNetwork('outside', { trafficPolicy: 'Allow', networks: [{ cidr: '8.0.0.0/8' }] }),
  ],
  [egressNetwork('outside', { trafficPolicy: 'Allow' }, { namespace: 'linkerd-egress' })],
  [['grant', grant]],
  [splitOf({}), splitOf({ matches: [{ kind: 'HTTPRouteGroup', name: 'g' }] })],
  [routeGroup('/a'), routeGroup('/b')],
];

const TARGETS = [
  '10.96.0.1:80',
  '10.96.0.1:81',
  '10.96.0.2:80',
  'app/web:80',
  '8.8.8.8:443',
  '1.1.1.1:53',
  '10.9.9.9:1',
];
const ASKED = TARGETS.flatMap((target) => ['app', 'shop', 'data'].map((namespace) => ({ target, namespace })));

/** Answers as texts, errors included. */
function answers(world: OutboundWorld): string[] {
  return ASKED.map(({ target, namespace }) => {
    try {
      return JSON.stringify([world.wire(target, namespace), world.overlay(target, namespace)]);
    } catch (error) {
      return String(error);
    }
  });
}

interface Step {
  object: number;
  /** Which of its states; past the last it is deleted. */
  state: number;
}

/** Long enough that most objects are there together for a while. */
const steps = fc.array(
  fc
    .nat(OBJECTS.length - 1)
    .chain((object) => fc.record({ object: fc.constant(object), state: fc.nat(OBJECTS[object]!.length) })),
  { minLength: 10, maxLength: 40, size: 'max' },
);

function take(world: OutboundWorld, { object, state }: Step): void {
  const states = OBJECTS[object]!;
  const now = states[state];
  if (now) world.set(...now);
  else world.delete(...states[0]!);
}

test('the same objects give the same answers, in whatever order and by whatever way they came', () => {
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat()), fc.boolean(), (path, random, areGrantsServed) => {
      const world = new OutboundWorld();
      world.index.setGrantsServed(areGrantsServed);
      for (const step of path) take(world, step);
      const last = new Map(path.map((step) => [step.object, step]));
      const shuffled = [...last.values()].map((step) => ({ step, at: random.next().value as number }));
      const fresh = new OutboundWorld();
      for (const { step } of shuffled.sort((a, b) => a.at - b.at)) {
        if (OBJECTS[step.object]![step.state]) take(fresh, step);
      }
      fresh.index.setGrantsServed(areGrantsServed);
      assert.deepEqual(answers(world), answers(fresh));
    }),
    { numRuns: 30 },
  );
});

test('what is applied and deleted leaves nothing', () => {
  fc.assert(
    fc.property(steps, (path) => {
      const world = new OutboundWorld();
      for (const step of path) take(world, step);
      for (const [object] of OBJECTS.entries()) take(world, { object, state: 99 });
      const sizes = { ...world.index.sizes(), ...world.workloads.sizes() };
      assert.deepEqual(
        Object.entries(sizes).filter(([, size]) => size !== 0),
        [],
      );
    }),
    { numRuns: 30 },
  );
});

test('streams are woken whenever their answer changes, and read what a new one would', () => {
  fc.assert(
    fc.property(steps, (path) => {
      const world = new OutboundWorld();
      world.index.setGrantsServed(true);
      const streams = ASKED.map(({ target, namespace }) => new TestStream(world, target, namespace));
      for (const step of path) {
        take(world, step);
        for (const stream of streams) stream.readIfWoken();
        const expected = ASKED.map(({ target, namespace }) =>
          answer(() => world.policies.get(toTarget(target), client(namespace))),
        );
        assert.deepEqual(
          streams.map(({ last }) => last),
          expected,
        );
      }
      for (const stream of streams) stream.reader[Symbol.dispose]();
      assert.equal(world.policies.size, 0);
      assert.equal(world.subscriptions.size, 0);
    }),
    { numRuns: 20 },
  );
});

class TestStream {
  readonly reader: PolicyReader;
  last: string;
  #isWoken = false;

  constructor(world: OutboundWorld, target: string, namespace: string) {
    const wake = () => {
      this.#isWoken = true;
    };
    this.reader = world.policies.open(toTarget(target), client(namespace), { wake });
    this.last = answer(() => this.reader.read());
  }

  readIfWoken(): void {
    if (this.#isWoken) this.last = answer(() => this.reader.read());
    this.#isWoken = false;
  }
}

function answer(read: () => unknown): string {
  try {
    return JSON.stringify(read(), (_, value) => (typeof value === 'bigint' ? String(value) : value));
  } catch (error) {
    return String(error);
  }
}
