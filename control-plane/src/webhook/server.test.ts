import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import type { MeshError } from '@tulle/api';
import { startWebhookServer } from './server.ts';
import { writeCertificate } from './testing-certificate.ts';

test('takes up a new certificate, and keeps the old one while the new one is broken', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-webhook-'));
  context.after(() => rmSync(folder, { recursive: true }));
  context.mock.timers.enable({ apis: ['setInterval'] });
  await writeCertificate(folder, 'first.test');
  let reloaded = Promise.withResolvers<MeshError | undefined>();
  const nextReload = () => {
    reloaded = Promise.withResolvers();
    context.mock.timers.tick(5_000);
    return reloaded.promise;
  };
  await using server = await startWebhookServer({
    address: '127.0.0.1:0',
    certDir: folder,
    handle: async () => ({ status: 200, body: '' }),
    onReload: (error) => reloaded.resolve(error),
  });
  assert.equal(await subjectShown(server.port), 'first.test');

  writeFileSync(join(folder, 'tls.crt'), 'nonsense');
  assert.match((await nextReload())!.message, /^load webhook certificate from .*tls\.crt: not PEM$/);
  assert.equal(await subjectShown(server.port), 'first.test');

  await writeCertificate(folder, 'second.test');
  assert.equal(await nextReload(), undefined);
  assert.equal(await subjectShown(server.port), 'second.test');
});

test('does not start without a certificate', async () => {
  const options = { address: '127.0.0.1:0', certDir: '/nowhere', handle: async () => ({ status: 200, body: '' }) };
  await assert.rejects(startWebhookServer(options), { code: 'FAILED_PRECONDITION', message: /\/nowhere\/tls\.crt/ });
});

function subjectShown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}
