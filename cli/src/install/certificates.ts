/**
 * Certificates that `tulle install` makes: the trust anchor, the identity issuer below it, and the webhook's own.
 * All are ECDSA P-256. The trust anchor's key is dropped once the issuer is signed, so that nothing can be added under it.
 */
import 'reflect-metadata';
import { createPrivateKey, X509Certificate as NodeCertificate, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { MeshError } from '@tulle/api';

/** Certificates that nobody renews must not end a mesh by surprise. */
const VALID_YEARS = 10;
/** Clocks of nodes may be behind the machine that installs. */
const SKEW_MS = 60_000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface Credentials {
  trustAnchorsPem: string;
  issuerCertPem: string;
  issuerKeyPem: string;
}

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

/** What would keep the three files from working as a mesh's identity, one line each. */
export function credentialProblems(credentials: Credentials, namespace: string, trustDomain: string): string[] {
  const problems: string[] = [];
  const anchors = attempt(problems, 'trust anchors', () => parseCertificates(credentials.trustAnchorsPem));
  const issuer = attempt(problems, 'issuer certificate', () => parseCertificates(credentials.issuerCertPem)[0]);
  const key = attempt(problems, 'issuer key', () => createPrivateKey(credentials.issuerKeyPem));
  if (!anchors || !issuer || !key) return problems;
  const name = `identity.${namespace}.${trustDomain}`;
  if (!issuer.ca) problems.push('issuer certificate: is not a certificate authority');
  if (!issuer.checkPrivateKey(key)) problems.push('issuer key: is not the key of the issuer certificate');
  if (!issuer.checkHost(name)) problems.push(`issuer certificate: is not for ${name}`);
  if (issuer.publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    problems.push('issuer certificate: want an ECDSA P-256 key');
  }
  const now = Date.now();
  for (const certificate of [issuer, ...anchors]) {
    const subject = certificate.subject.replaceAll('\n', ',');
    if (certificate.validToDate.getTime() < now) problems.push(`${subject}: expired on ${certificate.validTo}`);
    if (certificate.validFromDate.getTime() > now)
      problems.push(`${subject}: is valid only from ${certificate.validFrom}`);
  }
  if (!anchors.some((anchor) => isSignedBy(issuer, anchor))) {
    problems.push('issuer certificate: is not signed by one of the trust anchors');
  }
  return problems;
}

/** Every certificate of a PEM bundle. Throws when there is none or one cannot be read. */
export function parseCertificates(pemText: string): NodeCertificate[] {
  const blocks = pemText.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g);
  if (!blocks) throw new MeshError('INVALID_ARGUMENT', 'not a PEM certificate');
  return blocks.map((block) => new NodeCertificate(block));
}

/** Whether `issuer` signed `certificate`, or is it. */
export function isSignedBy(certificate: NodeCertificate, issuer: NodeCertificate): boolean {
  if (certificate.fingerprint256 === issuer.fingerprint256) return true;
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
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

function attempt<T>(problems: string[], what: string, parseIt: () => T): T | undefined {
  try {
    return parseIt();
  } catch (error) {
    problems.push(`${what}: ${MeshError.from(error).message}`);
    return undefined;
  }
}
