/** The authority that signs: its certificate with the chain below the trust anchors, and its key. */
import 'reflect-metadata';
import { createPrivateKey, createPublicKey, type KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { X509Certificate as PeculiarCertificate } from '@peculiar/x509';
import { MeshError } from '@tulle/api';

export interface Issuer {
  certificate: PeculiarCertificate;
  key: webcrypto.CryptoKey;
  /** The issuer first; what peers need between a leaf and the trust anchors, in DER. */
  chain: Uint8Array[];
  notBefore: Date;
  notAfter: Date;
  subject: string;
}

export interface IssuerPems {
  certificates: string;
  key: string;
  trustAnchors: string;
}

/** Longer chains are a loop or a mistake. */
const CHAIN_MAX = 8;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** @throws MeshError `FAILED_PRECONDITION` saying what does not fit. */
export async function parseIssuer(pems: IssuerPems, now: Date): Promise<Issuer> {
  const chain = parseCertificates(pems.certificates, 'issuer certificate');
  const anchors = parseCertificates(pems.trustAnchors, 'trust anchors');
  const certificate = chain[0]!;
  const key = parseKey(pems.key);
  if (!certificate.ca) throw bad('the issuer certificate is not that of an authority');
  if (!isEcdsaP256(certificate.publicKey)) throw bad('the key of the issuer certificate is not ECDSA P-256');
  const own = createPublicKey(key).export({ type: 'spki', format: 'der' });
  if (!own.equals(certificate.publicKey.export({ type: 'spki', format: 'der' }))) {
    throw bad('the issuer key is not that of the issuer certificate');
  }
  const notBefore = new Date(certificate.validFrom);
  const notAfter = new Date(certificate.validTo);
  if (now > notAfter) throw bad(`the issuer certificate has expired at ${notAfter.toISOString()}`);
  if (now < notBefore) throw bad(`the issuer certificate is not valid before ${notBefore.toISOString()}`);
  checkChain(chain, anchors, now);
  const der = Uint8Array.from(key.export({ type: 'pkcs8', format: 'der' }));
  return {
    certificate: new PeculiarCertificate(Uint8Array.from(certificate.raw)),
    key: await webcrypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']),
    chain: chain.map(({ raw }) => Uint8Array.from(raw)),
    notBefore,
    notAfter,
    subject: certificate.subject.replaceAll('\n', ', '),
  };
}

function parseCertificates(pem: string, what: string): X509Certificate[] {
  const blocks = pem.match(PEM_CERTIFICATE) ?? [];
  if (blocks.length === 0) throw bad(`the ${what} holds no PEM certificate`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw bad(`the ${what} cannot be read: ${MeshError.from(cause).message}`, cause);
    }
  });
}

function parseKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    // The cause might quote what it read.
    throw bad(
      `the issuer key cannot be read${(cause as { code?: string }).code ? `: ${(cause as { code: string }).code}` : ''}`,
    );
  }
  if (!isEcdsaP256(key)) throw bad('the issuer key is not ECDSA P-256');
  return key;
}

function isEcdsaP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

/** From the issuer upwards through its file, to a trust anchor that is valid now. */
function checkChain(chain: readonly X509Certificate[], anchors: readonly X509Certificate[], now: Date): void {
  const valid = anchors.filter((anchor) => now >= new Date(anchor.validFrom) && now <= new Date(anchor.validTo));
  for (const [depth, certificate] of chain.slice(0, CHAIN_MAX).entries()) {
    if (valid.some((anchor) => anchor.raw.equals(certificate.raw) || isSignedBy(certificate, anchor))) return;
    const above = chain[depth + 1];
    if (!above || !isSignedBy(certificate, above)) break;
  }
  throw bad('the issuer certificate does not lead to a trust anchor');
}

function isSignedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function bad(message: string, cause?: unknown): MeshError {
  return new MeshError('FAILED_PRECONDITION', message, { cause });
}
