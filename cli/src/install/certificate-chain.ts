/** Certificates that were given or found: reading them, and whether they make a mesh's identity. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { MeshError } from '@tulle/api';

export interface Credentials {
  trustAnchorsPem: string;
  issuerCertPem: string;
  issuerKeyPem: string;
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
export function parseCertificates(pemText: string): X509Certificate[] {
  const blocks = pemText.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g);
  if (!blocks) throw new MeshError('INVALID_ARGUMENT', 'not a PEM certificate');
  return blocks.map((block) => new X509Certificate(block));
}

/** Whether `issuer` signed `certificate`, or is it. */
export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  if (certificate.fingerprint256 === issuer.fingerprint256) return true;
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function attempt<T>(problems: string[], what: string, parseIt: () => T): T | undefined {
  try {
    return parseIt();
  } catch (error) {
    problems.push(`${what}: ${MeshError.from(error).message}`);
    return undefined;
  }
}
