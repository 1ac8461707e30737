import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_MAPS } from '@tulle/api';
import type { Client } from '@tulle/client';
import fc from 'fast-check';
import { failureOf, openWatch, type RawWatch, startTestServer, type WatchEvent } from './testing/test-server.ts';

type Labels = Record<string, string>;
type Step = { name: string; labels: Labels | undefined };

/** Selectors and what they mean; the last object of a run is in all of them. */
const selections: { query: Record<string, string>; selects: (name: string, labels: Labels) => boolean }[] = [
  { query: {}, selects: () => true },
  { query: { labelSelector: 'a' }, selects: (_, labels) => labels.a !== undefined },
  {
    query: { labelSelector: 'a in (1,2),!b' },
    selects: (_, labels) => ['1', '2'].includes(labels.a ?? '') && labels.b === undefined,
  },
  { query: { labelSelector: 'a!=1' }, selects: (_, labels) => labels.a !== '1' },
  { query: { fieldSelector: 'metadata.name!=x' }, selects: (name) => name !== 'x' },
];
/** Its name sorts behind the others, so that it also ends initial events. */
const LAST: Step = { name: 'zz', labels: { a: '2' } };

const path = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps`;

async function take(client: Client, namespace: string, { name, labels }: Step, isThere: boolean): Promise<string> {
  if (labels === undefined) {
    if (isThere) await client.delete(CONFIG_MAPS, name, namespace);
  } else if (isThere) {
    const patch = [{ op: 'add', path: '/metadata/labels', value: labels }];
    await client.patch(CONFIG_MAPS, name, namespace, patch, 'json');
  } else await client.create(CONFIG_MAPS, { metadata: { name, labels } }, { namespace });
  return (await client.list(CONFIG_MAPS, { namespace })).resourceVersion;
}

/**
 * The state that the events lead to from `start`; every event must be possible in the state before it. Without a start
 * the first events are the present objects, in the order of their names.
 */
function replay(start: Map<string, Labels> | undefined, events: WatchEvent[]): Map<string, Labels> {
  const state = new Map(start);
  let last = 0;
  for (const { type, object } of events) {
    const { name, labels = {}, resourceVersion } = object.metadata;
    assert.ok(start === undefined || Number(resourceVersion) > last, 'versions rise');
    last = Number(resourceVersion);
    assert.equal(state.has(name), type !== 'ADDED', `${type} of ${name}`);
    if (type === 'DELETED') state.delete(name);
    else state.set(name, labels);
  }
  return state;
}

function selected(model: Map<string, Labels>, selection: number): Map<string, Labels> {
  return new Map([...model].filter(([name, labels]) => selections[selection]!.selects(name, labels)));
}

test('a watch from any version, opened at any time, leads from the state then to the state now', async (t) => {
  const { admin } = await startTestServer(t);
  const value = fc.constantFrom(undefined, '1', '2', '3');
  const labels = fc.record({ a: value, b: value }).map(({ a, b }) => ({ ...(a ? { a } : {}), ...(b ? { b } : {}) }));
  const step: fc.Arbitrary<Step> = fc.record({
    name: fc.constantFrom('x', 'y', 'z'),
    labels: fc.option(labels, { nil: undefined, freq: 3 }),
  });
  const watch = fc.record({
    selection: fc.nat(selections.length - 1),
    at: fc.nat(12),
    isLate: fc.boolean(),
    isInitial: fc.boolean(),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 12 }),
      fc.array(watch, { minLength: 1, maxLength: 4 }),
      async (steps, watches) => {
        const namespace = `run-${run++}`;
        await admin.create(
          { apiVersion: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false },
          { metadata: { name: namespace } },
        );
        const model = new Map<string, Labels>();
        const open: { watch: RawWatch; start: Map<string, Labels> | undefined; selection: number }[] = [];
        const states: { model: Map<string, Labels>; version: string }[] = [];
        const openAt = async (index: number, { selection, isInitial }: { selection: number; isInitial: boolean }) => {
          const { model: then, version } = states[index]!;
          const query = { ...selections[selection]!.query, ...(isInitial ? {} : { resourceVersion: version }) };
          open.push({
            watch: await openWatch(admin, path(namespace), query),
            start: isInitial ? undefined : selected(then, selection),
            selection,
          });
        };
        for (const [i, current] of [{ name: 'none', labels: undefined }, ...steps, LAST].entries()) {
          const version = await take(admin, namespace, current, model.has(current.name));
          if (current.labels === undefined) model.delete(current.name);
          else model.set(current.name, current.labels);
          states.push({ model: new Map(model), version });
          if (i <= steps.length)
            for (const each of watches) if (!each.isLate && each.at % (steps.length + 1) === i) await openAt(i, each);
        }
        for (const each of watches) if (each.isLate) await openAt(each.at % (steps.length + 1), each);
        for (const { watch: stream, start, selection } of open) {
          const events = await stream.until(({ object }) => object.metadata.name === LAST.name);
          stream.close();
          assert.deepEqual(replay(start, events), selected(model, selection));
        }
      },
    ),
    { numRuns: 30, seed: 7 },
  );
});

test('an object that leaves the selector is shown as it was, with the version of the change', async (t) => {
  const { admin } = await startTestServer(t);
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x', labels: { a: '1' } } });
  const watch = await openWatch(admin, path('default'), { labelSelector: 'a=1' });
  await admin.patch(CONFIG_MAPS, 'x', 'default', { metadata: { labels: { a: '2' } } }, 'merge');
  const now = await admin.get<{ metadata: { resourceVersion: string } }>(CONFIG_MAPS, 'x');
  const [, gone] = await watch.until(({ type }) => type === 'DELETED');
  watch.close();
  assert.deepEqual(gone!.object.metadata.labels, { a: '1' });
  assert.equal(gone!.object.metadata.resourceVersion, now.metadata.resourceVersion);
});

test('initial events end with a bookmark when they are asked for by name', async (t) => {
  const { admin } = await startTestServer(t);
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x' } });
  const query = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan', allowWatchBookmarks: 'true' };
  const watch = await openWatch(admin, path('default'), query);
  const events = await watch.until(({ type }) => type === 'BOOKMARK');
  watch.close();
  assert.deepEqual(
    events.map(({ type }) => type),
    ['ADDED', 'BOOKMARK'],
  );
  assert.equal(events[1]!.object.metadata.annotations['k8s.io/initial-events-end'], 'true');
  const refused = await failureOf(openWatch(admin, path('default'), { sendInitialEvents: 'true' }));
  assert.equal(refused.code, 422);
});

test('a watch ends after timeoutSeconds, with a last bookmark', async (t) => {
  const { admin } = await startTestServer(t);
  const watch = await openWatch(admin, path('default'), {
    timeoutSeconds: '1',
    allowWatchBookmarks: 'true',
    resourceVersion: '1',
  });
  const [bookmark] = await watch.until(() => true);
  assert.equal(bookmark!.type, 'BOOKMARK');
  await assert.rejects(
    watch.until(() => false),
    /the watch ended/,
  );
});

test('a version that is forgotten is answered by 410, one that is not there yet by 504', async (t) => {
  const { admin, server } = await startTestServer(t);
  const { resourceVersion } = await admin.list(CONFIG_MAPS, { namespace: 'default' });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x' } });
  server.context.store.compact();
  const watch = await openWatch(admin, path('default'), { resourceVersion });
  const [event] = await watch.until(() => true);
  assert.equal(event!.type, 'ERROR');
  assert.equal(event!.object.code, 410);
  const early = await failureOf(openWatch(admin, path('default'), { resourceVersion: '99999' }));
  assert.equal(early.code, 504);
  assert.equal(early.details.causes[0].reason, 'ResourceVersionTooLarge');
});

test('a table watch sends its columns once and rows as they change', async (t) => {
  const { admin } = await startTestServer(t);
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x' }, data: { k: 'v' } });
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const watch = await openWatch(admin, path('default'), {}, { accept });
  await admin.patch(CONFIG_MAPS, 'x', 'default', { data: { l: 'w' } }, 'merge');
  const [first, second] = await watch.until(({ type }) => type === 'MODIFIED');
  watch.close();
  assert.deepEqual(
    first!.object.columnDefinitions.map((column: { name: string }) => column.name),
    ['Name', 'Data', 'Age'],
  );
  assert.equal(second!.object.columnDefinitions, null);
  assert.deepEqual(second!.object.rows[0].cells.slice(0, 2), ['x', 2]);
});
