/** For tests: a self-signed certificate in the files where a webhook looks for its own. */
import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

export async function writeCertificate(folder: string, name: string): Promise<void> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }])],
  });
  // The key first: certificate and key are taken up together, once they differ from those in use and fit each other.
  writeFileSync(join(folder, 'tls.key'), KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }));
  writeFileSync(join(folder, 'tls.crt'), certificate.toString('pem'));
}
