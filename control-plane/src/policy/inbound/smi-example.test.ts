import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import { parseAllDocuments } from 'yaml';
import { pod } from '../../testing/objects.ts';
import { InboundWorld } from '../../testing/policies.ts';
import { evaluateInbound } from './evaluate.ts';

const PAGE = new URL('../../../../docs/smi.md', import.meta.url);

test('the TrafficTarget of docs/smi.md allows what the page says', () => {
  const [, block] = /<!-- example: traffic-target -->\n```yaml\n([\s\S]*?)\n```/.exec(readFileSync(PAGE, 'utf8'))!;
  const objects = parseAllDocuments(block!).map((document) => document.toJS() as KubeObject);
  const containers = [{ name: 'app', readinessProbe: { httpGet: { path: '/ready', port: 8080 } } }];
  const world = new InboundWorld([pod('emoji', { namespace: 'emojiivoto', containers }), ...objects]);
  const server = world.server('emoji', 8080, { namespace: 'emojiivoto' })!;
  const verdict = (account: string | undefined, method: string, path: string) => {
    const id = account && `${account}.emojiivoto.serviceaccount.identity.linkerd.cluster.local`;
    const client = { ip: '10.0.0.9', isTls: id !== undefined, id };
    return evaluateInbound(server, { client, request: { method, path, host: 'emoji', headers: {} } }).verdict;
  };
  assert.equal(verdict('web', 'GET', '/list'), 'allow');
  assert.equal(verdict('web', 'POST', '/list'), 'deny');
  assert.equal(verdict('web', 'GET', '/other'), 'deny');
  assert.equal(verdict('bot', 'GET', '/list'), 'deny');
  assert.equal(verdict(undefined, 'GET', '/list'), 'deny');
  assert.equal(verdict(undefined, 'GET', '/ready'), 'allow');
});
