import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import { createTestAuthority, type TestAuthority } from '../testing/certificates.ts';
import { type IssuerPems, parseIssuer } from './issuer.ts';
import { startIssuerSource } from './issuer-source.ts';

const DAY_MS = 86_400_000;

function pemsOf(issuer: TestAuthority, root: TestAuthority): IssuerPems {
  return { certificates: issuer.certificatePem, key: issuer.keyPem, trustAnchors: root.certificatePem };
}

const refuses = (pems: IssuerPems, why: RegExp, now = new Date()) =>
  assert.rejects(parseIssuer(pems, now), (error) => {
    assert.ok(error instanceof MeshError && error.code === 'FAILED_PRECONDITION');
    assert.match(error.message, why);
    return true;
  });

test('takes an issuer below a trust anchor, the anchor itself, or one further down', async () => {
  const root = await createTestAuthority('root');
  const middle = await createTestAuthority('middle', { parent: root });
  const issuer = await createTestAuthority('issuer', { parent: middle });
  assert.equal((await parseIssuer(pemsOf(middle, root), new Date())).chain.length, 1);
  assert.equal((await parseIssuer(pemsOf(root, root), new Date())).subject, 'CN=root');
  const chained = { ...pemsOf(issuer, root), certificates: issuer.certificatePem + middle.certificatePem };
  const { chain } = await parseIssuer(chained, new Date());
  assert.deepEqual(
    chain.map((der) => new X509Certificate(der).subject),
    ['CN=issuer', 'CN=middle'],
  );
  await refuses(pemsOf(issuer, root), /does not lead to a trust anchor/);
  const old = await createTestAuthority('old');
  const bundle = { ...pemsOf(middle, root), trustAnchors: old.certificatePem + root.certificatePem };
  await parseIssuer(bundle, new Date());
});

test('takes keys in both forms', async () => {
  const root = await createTestAuthority('root');
  const sec1 = createPrivateKey(root.keyPem).export({ type: 'sec1', format: 'pem' }).toString();
  await parseIssuer({ ...pemsOf(root, root), key: sec1 }, new Date());
});

test('refuses an issuer that peers would not accept, and says why', async () => {
  const root = await createTestAuthority('root');
  const issuer = await createTestAuthority('issuer', { parent: root });
  const other = await createTestAuthority('issuer', { parent: root });
  await refuses({ ...pemsOf(issuer, root), key: other.keyPem }, /key is not that of the issuer certificate/);
  await refuses(
    pemsOf(await createTestAuthority('leaf', { parent: root, isAuthority: false }), root),
    /not that of an authority/,
  );
  const p384 = await createTestAuthority('issuer', { parent: root, algorithm: { name: 'ECDSA', namedCurve: 'P-384' } });
  await refuses(pemsOf(p384, root), /not ECDSA P-256/);
  await refuses(pemsOf(issuer, root), /has expired/, new Date(Date.now() + 400 * DAY_MS));
  await refuses(pemsOf(issuer, root), /not valid before/, new Date(Date.now() - DAY_MS));
  const expired = await createTestAuthority('root', { notAfter: new Date(Date.now() - 1_000) });
  const orphan = await createTestAuthority('issuer', { parent: expired });
  await refuses(pemsOf(orphan, expired), /does not lead to a trust anchor/);
  await refuses({ ...pemsOf(issuer, root), certificates: 'nothing' }, /issuer certificate holds no PEM/);
  await refuses({ ...pemsOf(issuer, root), trustAnchors: '' }, /trust anchors holds no PEM/);
  await refuses({ ...pemsOf(issuer, root), key: 'nothing' }, /issuer key cannot be read/);
  const broken = issuer.certificatePem.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
  await refuses(
    { ...pemsOf(issuer, root), certificates: broken },
    /issuer certificate cannot be read|does not|not that/,
  );
});

function folderOf(t: TestContext, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-issuer-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

function readOnce(t: TestContext, issuerPath: string, trustAnchorsPath: string): Promise<IssuerPems | string> {
  const stopping = new AbortController();
  t.after(() => stopping.abort());
  return new Promise((resolve) => {
    const listener = { onPems: resolve, onError: (error: MeshError) => resolve(error.message) };
    startIssuerSource(
      { issuerPath, trustAnchorsPath, namespace: 'linkerd', client: {} as Client },
      listener,
      stopping.signal,
    );
  });
}

test('reads the files of both schemes', async (t) => {
  const ours = folderOf(t, { 'crt.pem': 'certificate', 'key.pem': 'key', 'ca-bundle.crt': 'anchors' });
  const pems = { certificates: 'certificate', key: 'key', trustAnchors: 'anchors' };
  assert.deepEqual(await readOnce(t, ours, join(ours, 'ca-bundle.crt')), pems);
  const theirs = folderOf(t, {
    'tls.crt': 'certificate',
    'tls.key': 'key',
    'ca.crt': 'not these',
    'ca-bundle.crt': 'anchors',
  });
  assert.deepEqual(await readOnce(t, theirs, join(theirs, 'ca-bundle.crt')), pems);
});

test('names the file that is missing', async (t) => {
  const folder = folderOf(t, { 'ca-bundle.crt': 'anchors' });
  assert.equal(await readOnce(t, folder, join(folder, 'ca-bundle.crt')), `read ${folder}/crt.pem: ENOENT`);
});
