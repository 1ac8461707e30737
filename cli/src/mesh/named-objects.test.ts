import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEPLOYMENTS, type Kind, MeshError, NAMESPACES, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import { namedObjects, namedPods } from './named-objects.ts';

const deployment = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: { selector: { matchLabels: { app: 'web' } } },
};
const pod = (name: string, phase: string) =>
  ({ metadata: { name, namespace: 'shop', labels: { app: 'web' } }, status: { phase } }) as unknown as Pod;

/** A cluster with Deployment web in namespace shop, and a user who may look at namespaces or not. */
function clientOf(namespaces: 'readable' | 'forbidden' = 'readable'): Client {
  const get = async (kind: Kind, name: string, namespace?: string) => {
    if (kind === NAMESPACES && namespaces === 'forbidden') throw new MeshError('PERMISSION_DENIED', 'forbidden');
    if (kind === NAMESPACES && name === 'shop') return { metadata: { name } };
    if (kind === DEPLOYMENTS && name === 'web' && namespace === 'shop') return deployment;
    throw new MeshError('NOT_FOUND', `GET https://cluster.example/${name}: not found`);
  };
  const list = async (kind: Kind, { namespace }: { namespace?: string }) => {
    if (namespace !== undefined && namespace !== 'shop') return { items: [] };
    return { items: kind === DEPLOYMENTS ? [deployment] : [pod('web-1', 'Running'), pod('web-0', 'Succeeded')] };
  };
  return { get, list } as unknown as Client;
}

test('finds what is named, and the pods that run of it', async () => {
  for (const words of [['deploy'], ['deploy/web'], ['deploy', 'web']]) {
    const found = await namedObjects(clientOf(), words, 'shop');
    assert.deepEqual(
      found.map(({ object }) => object),
      [deployment],
    );
  }
  const pods = await namedPods(clientOf(), ['deploy/web'], 'shop');
  assert.deepEqual(
    pods.map(({ metadata }) => metadata.name),
    ['web-1'],
  );
});

test('says whether it is the object or its namespace that is not there', async () => {
  const message = (words: string[], namespace: string | undefined, client = clientOf()) =>
    namedObjects(client, words, namespace).then(
      () => 'found',
      (error: Error) => error.message,
    );
  assert.equal(await message(['deploy/nope'], 'shop'), 'there is no deployment nope in namespace shop');
  assert.equal(await message(['deploy/nope'], undefined), 'there is no deployment nope');
  assert.equal(await message(['deploy/web'], 'nowhere'), 'there is no namespace nowhere');
  assert.equal(await message(['deploy'], 'nowhere'), 'there is no namespace nowhere');
  assert.equal(await message(['ns/nowhere'], 'shop'), 'there is no namespace nowhere');
  const blind = clientOf('forbidden');
  assert.equal(await message(['deploy/web'], 'nowhere', blind), 'there is no deployment web in namespace nowhere');
  assert.equal(await message(['deploy'], 'nowhere', blind), 'found');
});
