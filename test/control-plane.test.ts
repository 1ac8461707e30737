/**
 * The control plane as proxies meet it on a cluster: its ports are guarded by its own proxy, and its identity service signs for the
 * service account of a real token alone.
 */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { webcrypto, X509Certificate } from 'node:crypto';
import { connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { CONFIG_MAPS, type ConfigMap, type KubeObject, PODS, SERVICE_ACCOUNTS } from '@tulle/api';
import { CertifyRequestSchema, CertifyResponseSchema } from '@tulle/api/gen/identity_pb.ts';
import { enterNetwork, installMesh, openCluster, type TestCluster } from './support/cluster.ts';

const IDENTITY_PORT = 8080;
const PERMISSION_DENIED = '7';
const GUARDED_PORTS = [IDENTITY_PORT, 8086, 8090];
const skip = process.env.TEST_KUBECONFIG ? 'calls from the network of the one-machine cluster' : false;

let cluster: TestCluster;
let controlPlane: KubeObject;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  const labelSelector = 'linkerd.io/control-plane-component=destination';
  const { items } = await cluster.client.list<KubeObject>(PODS, { namespace: 'linkerd', labelSelector });
  controlPlane = items.find((pod) => !pod.metadata.deletionTimestamp)!;
  await cluster.client.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'alice', namespace: 'default' },
  });
});

after(() => cluster?.[Symbol.asyncDispose]());

/** Run by Node inside the cluster's network: one gRPC call over plain HTTP/2, its status on stdout. */
const CALL_SCRIPT = `
  const session = require('node:http2').connect(process.argv[1]);
  const stream = session.request({ ':method': 'POST', ':path': process.argv[2], 'content-type': 'application/grpc', te: 'trailers' });
  const tell = (headers) => {
    if (headers['grpc-status'] === undefined) return;
    console.log(headers['grpc-status']);
    process.exit();
  };
  stream.on('response', tell).on('trailers', tell).on('error', tell).end(Buffer.alloc(5));
`;

test('lets nobody without a mesh identity ask for policies, endpoints or certificates', { skip }, async () => {
  for (const port of GUARDED_PORTS) {
    const url = `http://${controlPlane.status.podIP}:${port}`;
    const path = '/io.linkerd.proxy.destination.Destination/Get';
    const [command, args] = enterNetwork(cluster, process.execPath, '-e', CALL_SCRIPT, url, path);
    const { stdout } = await promisify(execFile)(command, args, { timeout: 20_000 });
    assert.equal(stdout.trim(), PERMISSION_DENIED, `port ${port}`);
  }
});

async function tokenOf(account: string, audience: string): Promise<Uint8Array> {
  const path = `/api/v1/namespaces/default/serviceaccounts/${account}/token`;
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: [audience] } };
  const answer = await cluster.client.request('POST', path, { body });
  return Buffer.from((await answer.json<{ status: { token: string } }>()).status.token);
}

async function requestFor(name: string): Promise<Uint8Array> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, false, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const extensions = [new SubjectAlternativeNameExtension([{ type: 'dns', value: name }])];
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const csr = await Pkcs10CertificateRequestGenerator.create(
    { name: `CN=${name}`, keys, extensions, signingAlgorithm },
    webcrypto as unknown as typeof globalThis.crypto,
  );
  return new Uint8Array(csr.rawData);
}

/** Past the pod's proxy, as `kubectl port-forward` goes: what the service itself checks must not depend on it. */
async function certify(identity: string, token: Uint8Array): Promise<{ status: string; message?: Uint8Array }> {
  const tunnel = await cluster.client.portForward('linkerd', controlPlane.metadata.name, IDENTITY_PORT);
  const session = connect('http://identity', { createConnection: () => tunnel });
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/io.linkerd.proxy.identity.Identity/Certify',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const certificateSigningRequest = await requestFor(identity);
    const fields = { identity, token, certificateSigningRequest };
    const body = toBinary(CertifyRequestSchema, create(CertifyRequestSchema, fields));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([prefix, body]));
    let status = '';
    const tell = (headers: Record<string, unknown>) => {
      status = String(headers['grpc-status'] ?? status);
    };
    stream.on('response', tell).on('trailers', tell);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const answer = Buffer.concat(chunks);
    return { status, message: answer.length > 5 ? answer.subarray(5) : undefined };
  } finally {
    session.destroy();
    tunnel.destroy();
  }
}

const identityOf = (account: string) => `${account}.default.serviceaccount.identity.linkerd.cluster.local`;

test('signs for the service account of a token, below the trust anchors of the mesh', async () => {
  const { status, message } = await certify(identityOf('alice'), await tokenOf('alice', 'identity.l5d.io'));
  assert.equal(status, '0');
  const { leafCertificate, intermediateCertificates } = fromBinary(CertifyResponseSchema, message!);
  const leaf = new X509Certificate(leafCertificate);
  const issuer = new X509Certificate(intermediateCertificates[0]!);
  const roots = await cluster.client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-identity-trust-roots', 'linkerd');
  const root = new X509Certificate(roots.data!['ca-bundle.crt']!);
  assert.equal(leaf.subjectAltName, `DNS:${identityOf('alice')}`);
  assert.ok(leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey));
  assert.ok(issuer.checkIssued(root) && issuer.verify(root.publicKey));
});

test('refuses other names than the token’s, and tokens for other audiences or of nobody', async () => {
  const token = await tokenOf('alice', 'identity.l5d.io');
  const FAILED_PRECONDITION = '9';
  const UNAUTHENTICATED = '16';
  assert.equal((await certify(identityOf('default'), token)).status, FAILED_PRECONDITION);
  assert.equal(
    (await certify('linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local', token)).status,
    FAILED_PRECONDITION,
  );
  assert.equal((await certify(identityOf('alice'), await tokenOf('alice', 'somebody.else'))).status, UNAUTHENTICATED);
  assert.equal((await certify(identityOf('alice'), Buffer.from('no.real.token'))).status, UNAUTHENTICATED);
});
