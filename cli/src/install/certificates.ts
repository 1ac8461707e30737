/**
 * Certificates that `tulle install` makes: the trust anchor, the identity issuer below it, and the webhook's own.
 * All are ECDSA P-256. The trust anchor's key is dropped once the issuer is signed, so that nothing can be added under it.
 */
import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Credentials } from './certificate-chain.ts';

/** Certificates that nobody renews must not end a mesh by surprise. */
const VALID_YEARS = 10;
/** Clocks of nodes may be behind the machine that installs. */
const SKEW_MS = 60_000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export async function createIdentityCredentials(namespace: string, trustDomain: string): Promise<Credentials> {
  const rootKeys = await newKeys();
  const issuerKeys = await newKeys();
  const validity = newValidity();
  const rootName = `CN=root.${namespace}.${trustDomain}`;
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: rootName,
    keys: rootKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, 1, true), CA_USAGE, await keyId(rootKeys)],
  });
  const issuerName = `identity.${namespace}.${trustDomain}`;
  const issuer = await x509.X509CertificateGenerator.create({
    ...validity,
    subject: `CN=${issuerName}`,
    issuer: rootName,
    publicKey: issuerKeys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      CA_USAGE,
      await keyId(issuerKeys),
      await x509.AuthorityKeyIdentifierExtension.create(root),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: issuerName }]),
    ],
  });
  return {
    trustAnchorsPem: pem(root),
    issuerCertPem: pem(issuer),
    issuerKeyPem: await privateKeyPem(issuerKeys.privateKey),
  };
}

/** A self-signed certificate for a webhook's Service, to be its own CA bundle. */
export async function createWebhookCertificate(service: string, namespace: string) {
  const keys = await newKeys();
  const name = `${service}.${namespace}.svc`;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...newValidity(),
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      await keyId(keys),
    ],
  });
  return { certPem: pem(certificate), keyPem: await privateKeyPem(keys.privateKey) };
}

const CA_USAGE = new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true);

const newKeys = () =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
const keyId = (keys: webcrypto.CryptoKeyPair) => x509.SubjectKeyIdentifierExtension.create(keys.publicKey);
const pem = (certificate: x509.X509Certificate) => `${certificate.toString('pem').trim()}\n`;

function newValidity() {
  const notBefore = new Date(Date.now() - SKEW_MS);
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + VALID_YEARS);
  const serialNumber = Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString('hex');
  return { notBefore, notAfter, serialNumber: `01${serialNumber}` };
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  // SEC 1 is what Linkerd's tools write and read.
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'sec1' })
    .toString();
}
