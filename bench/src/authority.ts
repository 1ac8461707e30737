/** The bench's certificate authority: a trust anchor, an issuer below it, and leaves for its control plane and the proxies. */
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;
const LIFETIME_MS = 24 * HOUR_MS;

export interface Leaf {
  der: Uint8Array;
  validUntil: Date;
}

export class Authority {
  readonly trustAnchorsPem: string;
  readonly issuer: x509.X509Certificate;
  readonly #issuerKeys: webcrypto.CryptoKeyPair;

  private constructor(trustAnchorsPem: string, issuer: x509.X509Certificate, issuerKeys: webcrypto.CryptoKeyPair) {
    this.trustAnchorsPem = trustAnchorsPem;
    this.issuer = issuer;
    this.#issuerKeys = issuerKeys;
  }

  static async create(): Promise<Authority> {
    x509.cryptoProvider.set(crypto);
    const anchorKeys = await generateKeys();
    const issuerKeys = await generateKeys();
    const constraints = new x509.BasicConstraintsExtension(true, undefined, true);
    const usage = new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true);
    const anchor = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=root.linkerd.cluster.local',
      keys: anchorKeys,
      signingAlgorithm: ALGORITHM,
      extensions: [constraints, usage],
      ...validity(),
    });
    const issuer = await x509.X509CertificateGenerator.create({
      subject: 'CN=identity.linkerd.cluster.local',
      issuer: anchor.subject,
      publicKey: issuerKeys.publicKey,
      signingKey: anchorKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [constraints, usage],
      ...validity(),
    });
    return new Authority(anchor.toString('pem'), issuer, issuerKeys);
  }

  /** Signs the key of a request under the name that was asked for. */
  async sign(csrDer: Uint8Array, name: string): Promise<Leaf> {
    const csr = new x509.Pkcs10CertificateRequest(new Uint8Array(csrDer));
    const leaf = await this.#issue(await csr.publicKey.export(), name);
    return { der: new Uint8Array(leaf.rawData), validUntil: leaf.notAfter };
  }

  /** A key and certificate chain as PEM, for a TLS server in this process. */
  async createServerIdentity(name: string): Promise<{ key: string; cert: string }> {
    const keys = await generateKeys();
    const leaf = await this.#issue(keys.publicKey, name);
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    return {
      key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
      cert: `${leaf.toString('pem')}\n${this.issuer.toString('pem')}\n`,
    };
  }

  /** A key and a request for a certificate, as files of an identity folder hold them. */
  async createRequest(name: string): Promise<{ keyDer: Uint8Array; csrDer: Uint8Array }> {
    const keys = await generateKeys();
    const csr = await x509.Pkcs10CertificateRequestGenerator.create({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }])],
    });
    return {
      keyDer: new Uint8Array(await crypto.subtle.exportKey('pkcs8', keys.privateKey)),
      csrDer: new Uint8Array(csr.rawData),
    };
  }

  #issue(publicKey: webcrypto.CryptoKey, name: string): Promise<x509.X509Certificate> {
    return x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: this.issuer.subject,
      publicKey,
      signingKey: this.#issuerKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      ],
      ...validity(),
    });
  }
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + LIFETIME_MS) };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
}
