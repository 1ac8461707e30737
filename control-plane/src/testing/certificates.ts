/** For tests: authorities and certificate signing requests. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface TestAuthority {
  name: string;
  certificate: X509Certificate;
  certificatePem: string;
  keyPem: string;
  keys: webcrypto.CryptoKeyPair;
}

export const P256 = { name: 'ECDSA', namedCurve: 'P-256' };
const crypto = webcrypto as unknown as typeof globalThis.crypto;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' };

export function createKeys(algorithm: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams = P256) {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
}

export interface TestAuthorityOptions {
  parent?: TestAuthority;
  notBefore?: Date;
  notAfter?: Date;
  isAuthority?: boolean;
  algorithm?: webcrypto.EcKeyGenParams;
}

export async function createTestAuthority(name: string, options: TestAuthorityOptions = {}): Promise<TestAuthority> {
  const { parent, isAuthority = true } = options;
  const keys = await createKeys(options.algorithm);
  const certificate = await X509CertificateGenerator.create(
    {
      subject: `CN=${name}`,
      issuer: parent ? parent.certificate.subjectName : `CN=${name}`,
      notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
      notAfter: options.notAfter ?? new Date(Date.now() + 365 * 86_400_000),
      publicKey: keys.publicKey,
      signingKey: parent?.keys.privateKey ?? keys.privateKey,
      signingAlgorithm: SIGNING,
      extensions: [
        new BasicConstraintsExtension(isAuthority, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const lines = pkcs8.match(/.{1,64}/g)!.join('\n');
  const label = 'PRIVATE KEY';
  const keyPem = `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
  return { name, certificate, certificatePem: certificate.toString('pem'), keyPem, keys };
}

export interface TestRequestOptions {
  subject?: string;
  names?: JsonGeneralNames;
  keys?: webcrypto.CryptoKeyPair;
  extensions?: Extension[];
}

/** A request as a proxy makes it, unless told otherwise. */
export async function createRequest(identity: string, options: TestRequestOptions = {}): Promise<Uint8Array> {
  const keys = options.keys ?? (await createKeys());
  const names = options.names ?? [{ type: 'dns' as const, value: identity }];
  const extensions = options.extensions ?? [new SubjectAlternativeNameExtension(names)];
  const name = options.subject ?? `CN=${identity}`;
  const csr = await Pkcs10CertificateRequestGenerator.create(
    { name, keys, signingAlgorithm: SIGNING, extensions },
    crypto,
  );
  return new Uint8Array(csr.rawData);
}
