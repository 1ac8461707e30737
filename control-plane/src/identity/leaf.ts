/** Signs a workload's certificate. */
import 'reflect-metadata';
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { MeshError } from '@tulle/api';
import type { SigningRequest } from './csr.ts';
import type { Issuer } from './issuer.ts';

export interface LeafOptions {
  identity: string;
  request: SigningRequest;
  now: Date;
  lifetimeMs: number;
  clockSkewAllowanceMs: number;
}

export interface Leaf {
  der: Uint8Array;
  notAfter: Date;
  /** SHA-256 of the certificate, for the record. */
  fingerprint: string;
}

const SERIAL_BYTES = 16;

/** Valid from now for the lifetime, longer at both ends by the allowed clock skew, and never past the issuer's end. */
export async function signLeaf(issuer: Issuer, options: LeafOptions): Promise<Leaf> {
  const { identity, request, now } = options;
  const notBefore = wholeSecond(now.getTime() - options.clockSkewAllowanceMs);
  const wanted = now.getTime() + options.lifetimeMs + options.clockSkewAllowanceMs;
  const notAfter = wholeSecond(Math.min(wanted, issuer.notAfter.getTime()));
  if (notAfter <= now)
    throw new MeshError('FAILED_PRECONDITION', 'sign certificate: the issuer certificate has expired');
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: request.hasCommonName ? `CN=${identity}` : undefined,
      // As the issuer's certificate writes it: peers compare names byte by byte.
      issuer: issuer.certificate.subjectName,
      notBefore,
      notAfter,
      publicKey: request.publicKey,
      signingKey: issuer.key,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        await SubjectKeyIdentifierExtension.create(
          request.publicKey,
          false,
          webcrypto as unknown as typeof globalThis.crypto,
        ),
        await authorityKeyId(issuer),
        // Where the subject is empty, this is the only name and must be understood.
        new SubjectAlternativeNameExtension([{ type: 'dns', value: identity }], !request.hasCommonName),
      ],
    },
    webcrypto as unknown as typeof globalThis.crypto,
  );
  const der = new Uint8Array(certificate.rawData);
  return { der, notAfter, fingerprint: createHash('sha256').update(der).digest('hex') };
}

/** Certificates carry whole seconds; cutting down never makes them valid longer. */
function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

/** Random, positive, and never zero. */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

/** The issuer's own key id where its certificate has one. */
async function authorityKeyId({ certificate }: Issuer): Promise<AuthorityKeyIdentifierExtension> {
  const own = certificate.getExtension(SubjectKeyIdentifierExtension);
  if (own) return new AuthorityKeyIdentifierExtension(own.keyId, false);
  return AuthorityKeyIdentifierExtension.create(
    certificate.publicKey,
    false,
    webcrypto as unknown as typeof globalThis.crypto,
  );
}
