import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import fc from 'fast-check';
import { type ProfileEvent, ProfileIndex } from './profile-index.ts';

const WEB = { namespace: 'app', name: 'web' };
const NAME = 'web.app.svc.cluster.local';

const profile = (namespace: string, route: string, annotations?: Record<string, string>): KubeObject => ({
  metadata: { name: NAME, namespace, annotations },
  spec: { routes: [{ name: route, condition: { method: 'GET' } }], dstOverrides: [{ authority: 'own', weight: '1' }] },
});
const split = (name: string, created: string, backends: [string, string][], service = 'web'): KubeObject => ({
  metadata: { name, namespace: 'app', creationTimestamp: created },
  spec: { service, backends: backends.map(([each, weight]) => ({ service: each, weight })) },
});
const set = (kind: ProfileEvent['kind'], object: KubeObject): ProfileEvent => ({ kind, type: 'set', object });
const remove = (kind: ProfileEvent['kind'], object: KubeObject): ProfileEvent => ({ kind, type: 'delete', object });

const EARLY = '2026-01-01T00:00:00Z';
const LATE = '2026-02-01T00:00:00Z';

test('the client’s namespace has the first word, then the service’s', () => {
  const index = new ProfileIndex('cluster.local');
  const route = (namespace?: string) => index.find(WEB, namespace)?.routes[0]?.name;
  assert.equal(route('client'), undefined);
  assert.deepEqual([...index.apply(set('ServiceProfile', profile('app', 'server')))], [`profile/app/${NAME}`]);
  assert.equal(route('client'), 'server');
  assert.equal(route(), 'server');
  index.apply(set('ServiceProfile', profile('client', 'client')));
  assert.equal(route('client'), 'client');
  assert.equal(route('other'), 'server');
  assert.deepEqual(index.topics(WEB, 'client'), [`profile/client/${NAME}`, `profile/app/${NAME}`]);
  index.apply(remove('ServiceProfile', profile('client', 'client')));
  assert.equal(route('client'), 'server');
});

test('a split replaces the overrides of a profile, or makes one; the older of two wins', () => {
  const index = new ProfileIndex('cluster.local');
  const overrides = () => index.find(WEB, undefined)?.dstOverrides;
  index.apply(set('TrafficSplit', split('b', LATE, [['web-2', '1']])));
  const topics = index.apply(
    set(
      'TrafficSplit',
      split('a', EARLY, [
        ['web-1', '900m'],
        ['web-2', '100m'],
      ]),
    ),
  );
  assert.deepEqual([...topics], [`profile/app/${NAME}`]);
  assert.deepEqual(overrides(), [
    { authority: 'web-1.app.svc.cluster.local', weight: 9_000 },
    { authority: 'web-2.app.svc.cluster.local', weight: 1_000 },
  ]);
  assert.equal(index.find(WEB, undefined)?.ref.kind, 'TrafficSplit');
  index.apply(set('ServiceProfile', profile('app', 'get')));
  assert.equal(index.find(WEB, undefined)?.ref.kind, 'ServiceProfile');
  assert.equal(overrides()?.length, 2);
  index.apply(set('ServiceProfile', profile('app', 'get', { 'smi.linkerd.io/skip': 'true' })));
  assert.deepEqual(overrides(), [{ authority: 'own', weight: 10_000 }]);
});

test('a split that names route groups is left to the policy, and no override of the profile hides it', () => {
  const index = new ProfileIndex('cluster.local');
  index.apply(set('TrafficSplit', split('plain', EARLY, [['web-1', '1']])));
  const grouped = split('grouped', LATE, [['web-2', '1']]);
  Object.assign(grouped.spec as object, { matches: [{ kind: 'HTTPRouteGroup', name: 'g' }] });
  index.apply(set('TrafficSplit', grouped));
  assert.equal(index.find(WEB, undefined), undefined);
  index.apply(set('ServiceProfile', profile('app', 'get')));
  const found = index.find(WEB, undefined);
  assert.deepEqual([found?.dstOverrides, found?.routes.length, found?.split], [[], 1, undefined]);
});

test('a split that moves to another service tells both', () => {
  const index = new ProfileIndex('cluster.local');
  index.apply(set('TrafficSplit', split('a', EARLY, [['web-1', '1']])));
  const topics = index.apply(set('TrafficSplit', split('a', EARLY, [['web-1', '1']], 'db')));
  assert.deepEqual([...topics].sort(), [`profile/app/db.app.svc.cluster.local`, `profile/app/${NAME}`]);
  assert.equal(index.find(WEB, undefined), undefined);
});

const object = fc.oneof(
  fc
    .record({ namespace: fc.constantFrom('app', 'client'), route: fc.constantFrom('x', 'y') })
    .map(({ namespace, route }) => set('ServiceProfile', profile(namespace, route))),
  fc
    .record({ name: fc.constantFrom('a', 'b'), created: fc.constantFrom(EARLY, LATE), to: fc.constantFrom('1', '2') })
    .map(({ name, created, to }) => set('TrafficSplit', split(name, created, [[`web-${to}`, '1']]))),
);
const identity = ({ kind, object: { metadata } }: ProfileEvent) => `${kind}/${metadata.namespace}/${metadata.name}`;
const answers = (index: ProfileIndex) => [undefined, 'app', 'client', 'other'].map((from) => index.find(WEB, from));

test('the order of events does not change the answers', () => {
  const events = fc.uniqueArray(object, { selector: identity });
  const shuffled = events.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const [one, two] = [new ProfileIndex('cluster.local'), new ProfileIndex('cluster.local')];
      for (const event of list) one.apply(event);
      for (const event of other) two.apply(event);
      assert.deepEqual(answers(one), answers(two));
    }),
  );
});

test('what is applied and deleted leaves nothing', () => {
  fc.assert(
    fc.property(fc.array(object), (events) => {
      const index = new ProfileIndex('cluster.local');
      for (const event of events) index.apply(event);
      for (const event of events) index.apply({ ...event, type: 'delete' });
      assert.deepEqual(new Set(Object.values(index.sizes())), new Set([0]));
    }),
  );
});

test('a change tells the topic of every answer that it changes', () => {
  fc.assert(
    fc.property(fc.array(object), object, (events, last) => {
      const index = new ProfileIndex('cluster.local');
      for (const event of events) index.apply(event);
      const clients = [undefined, 'app', 'client'];
      const before = clients.map((from) => JSON.stringify(index.find(WEB, from)));
      const topics = index.apply(last);
      clients.forEach((from, i) => {
        if (JSON.stringify(index.find(WEB, from)) === before[i]) return;
        assert.ok(index.topics(WEB, from).some((topic) => topics.has(topic)));
      });
    }),
  );
});
