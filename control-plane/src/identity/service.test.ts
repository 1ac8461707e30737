import 'reflect-metadata';
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import test, { type TestContext } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { SubjectAlternativeNameExtension } from '@peculiar/x509';
import { CONFIG_MAPS, SECRETS } from '@tulle/api';
import { createKeys, createRequest, createTestAuthority, type TestAuthority } from '../testing/certificates.ts';
import { startTestControlPlane, type TestControlPlane } from '../testing/control-plane.ts';
import type { FakeKubernetes } from '../testing/fake-kubernetes.ts';

const WEB = 'web.app.serviceaccount.identity.linkerd.cluster.local';
const base64 = (text: string) => Buffer.from(text).toString('base64');

function putIssuer(kubernetes: FakeKubernetes, issuer: TestAuthority, root: TestAuthority): void {
  const metadata = { namespace: 'linkerd', name: 'linkerd-identity-issuer' };
  const data = { 'crt.pem': base64(issuer.certificatePem), 'key.pem': base64(issuer.keyPem) };
  kubernetes.put(SECRETS, { kind: 'Secret', metadata, data });
  const anchors = { namespace: 'linkerd', name: 'linkerd-identity-trust-roots' };
  kubernetes.put(CONFIG_MAPS, { kind: 'ConfigMap', metadata: anchors, data: { 'ca-bundle.crt': root.certificatePem } });
}

interface Fixture extends TestControlPlane {
  root: TestAuthority;
  issuer: TestAuthority;
}

async function start(t: TestContext, options: { issuerEnd?: Date; flags?: string[] } = {}): Promise<Fixture> {
  const root = await createTestAuthority('root.linkerd.cluster.local');
  const parent = { parent: root, ...(options.issuerEnd ? { notAfter: options.issuerEnd } : {}) };
  const issuer = await createTestAuthority('identity.linkerd.cluster.local', parent);
  const prepare = (kubernetes: FakeKubernetes) => {
    putIssuer(kubernetes, issuer, root);
    kubernetes.reviewToken = (token, audiences) => {
      const user = { username: `system:serviceaccount:${token.replace('legacy:', '')}`, uid: 'uid-of-web' };
      if (token.startsWith('legacy:')) return audiences ? { authenticated: false } : { authenticated: true, user };
      if (token === 'user') return { authenticated: true, user: { username: 'alice' }, audiences };
      return token.includes(':') ? { authenticated: true, user, audiences } : { authenticated: false };
    };
  };
  const controlPlane = await startTestControlPlane(t, { components: 'identity', prepare, flags: options.flags });
  await controlPlane.kubernetes.event('IssuerUpdated');
  return { ...controlPlane, root, issuer };
}

const request = async (token: string, identity = WEB, csr?: Uint8Array) => ({
  identity,
  token: Buffer.from(token),
  certificateSigningRequest: csr ?? (await createRequest(identity)),
});

const codeOf = (code: Code) => (error: unknown) => {
  assert.equal(Code[ConnectError.from(error).code], Code[code], ConnectError.from(error).message);
  return true;
};

test('signs a certificate for the service account of the token', async (t) => {
  const { identity, root, issuer, kubernetes } = await start(t);
  const keys = await createKeys();
  const csr = await createRequest(WEB, { keys });
  const startedMs = Date.now();
  const response = await identity.certify(await request('app:web', WEB, csr));
  const leaf = new X509Certificate(response.leafCertificate);
  const [intermediate] = response.intermediateCertificates.map((der) => new X509Certificate(der));
  const authority = new X509Certificate(issuer.certificatePem);
  assert.ok(intermediate?.raw.equals(authority.raw));
  assert.ok(leaf.verify(authority.publicKey), 'signed by the issuer');
  assert.ok(leaf.checkIssued(authority), 'names and key ids lead to the issuer');
  assert.ok(authority.verify(new X509Certificate(root.certificatePem).publicKey));
  assert.equal(leaf.subjectAltName, `DNS:${WEB}`);
  assert.equal(leaf.subject, `CN=${WEB}`);
  assert.equal(leaf.ca, false);
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  const notBeforeMs = Date.parse(leaf.validFrom);
  const notAfterMs = Date.parse(leaf.validTo);
  assert.ok(notBeforeMs <= startedMs - 19_000 && notBeforeMs >= startedMs - 30_000, 'skew before');
  assert.ok(
    notAfterMs >= startedMs + 86_400_000 + 19_000 && notAfterMs <= startedMs + 86_400_000 + 90_000,
    'skew after',
  );
  assert.equal(Number(response.validUntil?.seconds) * 1000, notAfterMs);
  const event = await kubernetes.event('IssuedLeafCertificate');
  assert.deepEqual(event.involvedObject, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    namespace: 'app',
    name: 'web',
    uid: 'uid-of-web',
  });
});

test('accepts a request without a subject and a token of the API server', async (t) => {
  const { identity } = await start(t);
  const csr = await createRequest(WEB, { subject: '' });
  const { leafCertificate } = await identity.certify(await request('legacy:app:web', WEB, csr));
  const leaf = new X509Certificate(leafCertificate);
  assert.equal(leaf.subject ?? '', '');
  assert.equal(leaf.subjectAltName, `DNS:${WEB}`);
});

test('never signs past the end of the issuer', async (t) => {
  const issuerEnd = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
  const { identity } = await start(t, { issuerEnd });
  const response = await identity.certify(await request('app:web'));
  assert.equal(Date.parse(new X509Certificate(response.leafCertificate).validTo), issuerEnd.getTime());
  assert.equal(Number(response.validUntil?.seconds) * 1000, issuerEnd.getTime());
});

test('signs for the lifetime it is told', async (t) => {
  const { identity } = await start(t, {
    flags: ['--identity-issuance-lifetime=40s', '--identity-clock-skew-allowance=0s'],
  });
  const { leafCertificate } = await identity.certify(await request('app:web'));
  const leaf = new X509Certificate(leafCertificate);
  assert.equal(Date.parse(leaf.validTo) - Date.parse(leaf.validFrom), 40_000);
});

test('refuses what is not the name of the token, with the status that says why', async (t) => {
  const { identity } = await start(t);
  const other = 'voting.app.serviceaccount.identity.linkerd.cluster.local';
  const refuses = async (code: Code, ...args: Parameters<typeof request>) =>
    assert.rejects(identity.certify(await request(...args)), codeOf(code));
  await refuses(Code.Unauthenticated, 'nobody');
  await refuses(Code.InvalidArgument, 'user');
  await refuses(Code.InvalidArgument, '');
  await refuses(Code.InvalidArgument, 'app:web', '');
  await refuses(Code.InvalidArgument, 'app:web', WEB, Buffer.from('not a request'));
  await refuses(Code.InvalidArgument, 'app:web', WEB, Buffer.alloc(20_000, 0x30));
  await refuses(Code.FailedPrecondition, 'app:web', other);
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(other));
  const dns = { type: 'dns' as const, value: WEB };
  await refuses(
    Code.FailedPrecondition,
    'app:web',
    WEB,
    await createRequest(WEB, { names: [dns, { type: 'dns', value: other }] }),
  );
  await refuses(
    Code.FailedPrecondition,
    'app:web',
    WEB,
    await createRequest(WEB, { names: [dns, { type: 'ip', value: '10.0.0.1' }] }),
  );
  await refuses(
    Code.FailedPrecondition,
    'app:web',
    WEB,
    await createRequest(WEB, { names: [dns, { type: 'email', value: 'a@b.c' }] }),
  );
  await refuses(
    Code.FailedPrecondition,
    'app:web',
    WEB,
    await createRequest(WEB, { names: [{ type: 'url', value: `spiffe://${WEB}` }] }),
  );
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(WEB, { extensions: [] }));
  const twice = [new SubjectAlternativeNameExtension([dns]), new SubjectAlternativeNameExtension([dns])];
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(WEB, { extensions: twice }));
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(WEB, { subject: `CN=${other}` }));
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(WEB, { subject: `CN=${WEB}, O=else` }));
  const p384 = await createKeys({ name: 'ECDSA', namedCurve: 'P-384' });
  await refuses(Code.FailedPrecondition, 'app:web', WEB, await createRequest(WEB, { keys: p384 }));
  const forged = await createRequest(WEB);
  forged[forged.length - 1]! ^= 1;
  await refuses(Code.FailedPrecondition, 'app:web', WEB, forged);
});

test('says Unavailable while the API server is away', async (t) => {
  const { identity, kubernetes } = await start(t);
  kubernetes.setAway(true);
  await assert.rejects(identity.certify(await request('app:web')), codeOf(Code.Unavailable));
  kubernetes.setAway(false);
  await identity.certify(await request('app:web'));
});

test('takes up a new issuer, and keeps the old one when the new is not good', async (t) => {
  const { identity, kubernetes, root, issuer } = await start(t);
  const foreign = await createTestAuthority('identity.linkerd.cluster.local');
  putIssuer(kubernetes, foreign, root);
  await kubernetes.event('IssuerUpdateSkipped');
  const before = await identity.certify(await request('app:web'));
  assert.ok(new X509Certificate(before.leafCertificate).verify(new X509Certificate(issuer.certificatePem).publicKey));
  const next = await createTestAuthority('identity.linkerd.cluster.local', { parent: root });
  putIssuer(kubernetes, next, root);
  const isNext = async () => {
    const { leafCertificate } = await identity.certify(await request('app:web'));
    return new X509Certificate(leafCertificate).verify(new X509Certificate(next.certificatePem).publicKey);
  };
  while (!(await isNext()));
});
