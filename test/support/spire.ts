/** What SPIRE does for a workload outside the cluster: an authority below the mesh's trust anchor, and an agent's socket. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import { create } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import * as x509 from '@peculiar/x509';
import { SpiffeWorkloadAPI, type X509SVID, X509SVIDSchema } from '../gen/spiffe-workload_pb.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;

type Keys = Awaited<ReturnType<typeof generateKeys>>;

function generateKeys() {
  x509.cryptoProvider.set(webcrypto as never);
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

/** An authority with its certificate chain, from itself to the one below the anchor. */
export class CertificateAuthority {
  readonly certificate: x509.X509Certificate;
  readonly #keys: Keys;

  private constructor(certificate: x509.X509Certificate, keys: Keys) {
    this.certificate = certificate;
    this.#keys = keys;
  }

  static async create(name: string): Promise<CertificateAuthority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys: keys as never,
      signingAlgorithm: ALGORITHM,
      extensions: AUTHORITY_EXTENSIONS,
      ...lifetime(),
    });
    return new CertificateAuthority(certificate, keys);
  }

  /** One that this one vouches for. */
  async below(name: string): Promise<CertificateAuthority> {
    const keys = await generateKeys();
    return new CertificateAuthority(await this.#sign(`CN=${name}`, keys, AUTHORITY_EXTENSIONS), keys);
  }

  async keyPem(): Promise<string> {
    return x509.PemConverter.encode(await pkcs8(this.#keys), 'PRIVATE KEY');
  }

  /** A key and certificate for a SPIFFE id, with a serial number of its own. */
  async svid(id: string, bundle: CertificateAuthority): Promise<X509SVID> {
    const keys = await generateKeys();
    const leaf = await this.#sign('O=SPIRE', keys, [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: id }]),
    ]);
    return create(X509SVIDSchema, {
      spiffeId: id,
      x509Svid: Buffer.concat([leaf, this.certificate].map(({ rawData }) => Buffer.from(rawData))),
      x509SvidKey: new Uint8Array(await pkcs8(keys)),
      bundle: new Uint8Array(bundle.certificate.rawData),
    });
  }

  #sign(subject: string, keys: Keys, extensions: x509.Extension[]): Promise<x509.X509Certificate> {
    return x509.X509CertificateGenerator.create({
      subject,
      issuer: this.certificate.subject,
      publicKey: keys.publicKey as never,
      signingKey: this.#keys.privateKey as never,
      signingAlgorithm: ALGORITHM,
      extensions,
      ...lifetime(),
    });
  }
}

const AUTHORITY_EXTENSIONS = [
  new x509.BasicConstraintsExtension(true, undefined, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
];

function lifetime(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
}

function pkcs8({ privateKey }: Keys): Promise<ArrayBuffer> {
  return crypto.subtle.exportKey('pkcs8', privateKey);
}

export interface WorkloadApi extends AsyncDisposable {
  /** What callers have now, and those that are there are sent at once. */
  give(...svids: X509SVID[]): void;
}

/** Serves the Workload API on a Unix socket that every user may call. */
export async function startWorkloadApi(socketPath: string): Promise<WorkloadApi> {
  let svids: X509SVID[] = [];
  let changed = Promise.withResolvers<void>();
  const server = http2.createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(SpiffeWorkloadAPI, {
          async *fetchX509SVID(_, { requestHeader, signal }) {
            if (requestHeader.get('workload.spiffe.io') !== 'true') throw new Error('the security header is missing');
            const ended = once(signal, 'abort');
            while (!signal.aborted) {
              const change = changed.promise;
              yield { svids };
              await Promise.race([change, ended]);
            }
          },
        }),
    }),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.listen(socketPath);
  await once(server, 'listening');
  chmodSync(socketPath, 0o777);
  return {
    give(...next) {
      svids = next;
      changed.resolve();
      changed = Promise.withResolvers();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const session of sessions) session.destroy();
      rmSync(socketPath, { force: true });
    },
  };
}
