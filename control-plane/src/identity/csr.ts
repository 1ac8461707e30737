/** Certificate signing requests: DER, for exactly one name, with a key that peers accept. */
import 'reflect-metadata';
import { type Name, Pkcs10CertificateRequest, type PublicKey, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { MeshError } from '@tulle/api';

export interface SigningRequest {
  publicKey: PublicKey;
  /** Whether the subject has the name as its CN; it has nothing else. */
  hasCommonName: boolean;
}

/** A P-256 request for one name is below 600 bytes. */
export const CSR_BYTES_MAX = 16 * 1024;

/** @throws MeshError `INVALID_ARGUMENT` for what is no request, `FAILED_PRECONDITION` for one that asks too much. */
export async function checkSigningRequest(der: Uint8Array, identity: string): Promise<SigningRequest> {
  const csr = parse(der);
  const { name, namedCurve } = csr.publicKey.algorithm as { name: string; namedCurve?: string };
  if (name !== 'ECDSA' || namedCurve !== 'P-256') throw refused('its key is not ECDSA P-256');
  if (!(await csr.verify().catch(() => false))) throw refused('its signature does not hold');
  checkNames(csr, identity);
  const hasCommonName = checkSubject(csr.subjectName, identity);
  return { publicKey: csr.publicKey, hasCommonName };
}

function parse(der: Uint8Array): Pkcs10CertificateRequest {
  if (der.length > CSR_BYTES_MAX) throw new MeshError('INVALID_ARGUMENT', 'read CSR: too long');
  try {
    const csr = new Pkcs10CertificateRequest(Uint8Array.from(der));
    // Extensions are parsed on first use: bad ones are to fail here.
    void csr.extensions;
    void csr.publicKey.algorithm;
    return csr;
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `read CSR: ${MeshError.from(cause).message}`, { cause });
  }
}

function checkNames(csr: Pkcs10CertificateRequest, identity: string): void {
  const extensions = csr.extensions.filter((extension) => extension instanceof SubjectAlternativeNameExtension);
  const names = extensions.flatMap((extension) => extension.names.items);
  const [first] = names;
  if (names.length !== 1 || first?.type !== 'dns') throw refused('it is not for exactly one DNS name');
  if (first.value !== identity) throw refused(`it is for "${first.value}", not for "${identity}"`);
}

function checkSubject(subject: Name, identity: string): boolean {
  const fields = subject.toJSON().flatMap((part) => Object.entries(part));
  const isCommonName = fields.length === 1 && fields[0]![0] === 'CN' && fields[0]![1]!.join() === identity;
  if (fields.length > 0 && !isCommonName) throw refused('its subject is neither empty nor the name');
  return isCommonName;
}

function refused(why: string): MeshError {
  return new MeshError('FAILED_PRECONDITION', `check CSR: ${why}`);
}
