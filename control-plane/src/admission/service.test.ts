import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { MetricRegistry } from '../metric-registry.ts';
import { writeCertificate } from '../webhook/testing-certificate.ts';
import { Neighbours } from './neighbours.ts';
import { answerReview } from './review.ts';
import { type Admission, startAdmission } from './service.ts';

const server = (port: unknown) => ({
  metadata: { name: 'web' },
  spec: { podSelector: { matchLabels: { app: 'web' } }, port },
});
const SERVER = { group: 'policy.linkerd.io', version: 'v1beta3', kind: 'Server' };
const PROFILE = { group: 'linkerd.io', version: 'v1alpha2', kind: 'ServiceProfile' };

function review(kind: object, object: unknown, more: object = {}): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: { uid: 'u1', kind, namespace: 'app', operation: 'CREATE', object, ...more },
  });
}

describe('the validating webhooks', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-admission-'));
  let admission: Admission;

  before(async () => {
    await writeCertificate(folder, 'validator.test');
    const listen = { address: '127.0.0.1:0', certDir: folder };
    admission = await startAdmission({
      policyValidator: listen,
      spValidator: listen,
      neighbours: new Neighbours('cluster.local'),
      preview: (object) => (object.metadata.name === 'odd' ? ['no such parent'] : []),
      isSynced: () => true,
      logger: { debug() {}, info() {}, warn() {}, error() {} } as never,
      metrics: new MetricRegistry(),
    });
  });
  after(async () => {
    await admission[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  const post = (port: number, body: string) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const ca = readFileSync(join(folder, 'tls.crt'));
      const to = { host: '127.0.0.1', port, path: '/', ca, servername: 'validator.test', method: 'POST', agent: false };
      const call = request(to as never, (answer) => {
        let text = '';
        answer.on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
      });
      call.on('error', reject);
      call.end(body);
    });
  const responseOf = async (port: number, body: string) => {
    const answer = await post(port, body);
    assert.equal(answer.status, 200);
    return JSON.parse(answer.body).response;
  };

  test('let in what is right, and say why not where it is not', async () => {
    const { policyValidator, spValidator } = admission.ports;
    assert.deepEqual(await responseOf(policyValidator, review(SERVER, server(80))), { uid: 'u1', allowed: true });
    assert.deepEqual(await responseOf(policyValidator, review(SERVER, server(0))), {
      uid: 'u1',
      allowed: false,
      status: { code: 403, message: "spec.port: found 0, allowed is 1 to 65535 or a port's name" },
    });
    const profile = { metadata: { name: 'web.app.svc.cluster.local' }, spec: { routes: [{ name: 'a' }] } };
    const refused = await responseOf(spValidator, review(PROFILE, profile));
    assert.equal(refused.allowed, false);
    assert.match(refused.status.message, /has a route with no condition/);
  });

  test('tell with warnings what the cluster makes of an object', async () => {
    const { warnings, allowed } = await responseOf(
      admission.ports.policyValidator,
      review(SERVER, { ...server(80), metadata: { name: 'odd' } }),
    );
    assert.deepEqual({ warnings, allowed }, { warnings: ['no such parent'], allowed: true });
  });

  test('refuse an object that is none, and answer 400 to what is no review', async () => {
    const { policyValidator } = admission.ports;
    for (const object of [null, 'text', [], { metadata: 'text' }]) {
      const response = await responseOf(policyValidator, review(SERVER, object));
      assert.equal(response.allowed, false);
      assert.match(response.status.message, /^read Server of AdmissionReview: found no object/);
    }
    assert.equal((await post(policyValidator, 'nonsense')).status, 400);
  });
});

const options = {
  check: () => ({ refusal: 'no', warnings: [] }),
  surroundings: async () => [],
  onError: () => assert.fail(),
};
const requestOf = (more: object) => JSON.parse(review(SERVER, server(80), more)).request;

test('lets go what is deleted, and what only loses its finalizers', async () => {
  assert.equal((await answerReview(requestOf({ operation: 'DELETE', object: null }), options)).allowed, true);
  const going = { ...server(0), metadata: { name: 'web', deletionTimestamp: '2026-01-01T00:00:00Z' } };
  const same = { operation: 'UPDATE', object: going, oldObject: server(0) };
  assert.equal((await answerReview(requestOf(same), options)).allowed, true);
  const other = { operation: 'UPDATE', object: going, oldObject: server(80) };
  assert.equal((await answerReview(requestOf(other), options)).allowed, false);
});

test('refuses when it fails itself, and says whose fault that is; a failed warning refuses nothing', async () => {
  const errors: string[] = [];
  const onError = (error: Error) => void errors.push(error.message);
  const broken = () => {
    throw new TypeError('broken');
  };
  const refused = await answerReview(requestOf({}), { ...options, check: broken, onError });
  assert.equal(refused.allowed, false);
  assert.match(refused.status!.message, /a fault of the mesh and not of this object: broken$/);
  const warned = await answerReview(requestOf({}), {
    check: () => ({ warnings: ['w'.repeat(1000)] }),
    surroundings: async (_object: KubeObject) => broken(),
    onError,
  });
  assert.equal(warned.allowed, true);
  assert.equal(warned.warnings![0]!.length, 250);
  assert.deepEqual(errors, ['broken', 'broken']);
});
