import assert from 'node:assert/strict';
import test from 'node:test';
import { MeshError } from '@tulle/api';
import { parseAuthority } from './authority.ts';

const parse = (text: string) => parseAuthority(text, 'cluster.local');

test('reads services, pods of services and addresses', () => {
  const web = { kind: 'service', namespace: 'app', name: 'web', serviceKey: 'app/web' };
  const fullName = 'web.app.svc.cluster.local';
  assert.deepEqual(parse('web.app.svc.cluster.local:8080'), { ...web, fullName, hostname: undefined, port: 8080 });
  assert.deepEqual(parse('Web.App.svc.cluster.local.'), { ...web, fullName, hostname: undefined, port: 80 });
  const ofPod = parse('web-0.web.app.svc.cluster.local:1');
  assert.deepEqual(ofPod, { ...web, fullName: `web-0.${fullName}`, hostname: 'web-0', port: 1 });
  assert.deepEqual(parse('10.0.0.1:80'), { kind: 'ip', ip: '10.0.0.1', port: 80 });
  assert.deepEqual(parse('[fd42:0::1]:80'), { kind: 'ip', ip: 'fd42::1', port: 80 });
});

test('refuses what is neither', () => {
  for (const bad of [
    '',
    ':80',
    'web',
    'web.app.svc.other',
    'a.b.c.d.svc.cluster.local',
    '.app.svc.cluster.local',
    'web.app.svc.cluster.local:0',
    'fd42::1:80',
    'web.app.svc.cluster.local:http',
    `${'a'.repeat(300)}.app.svc.cluster.local`,
  ]) {
    assert.throws(
      () => parse(bad),
      (error) => error instanceof MeshError && error.code === 'INVALID_ARGUMENT',
      bad,
    );
  }
});
