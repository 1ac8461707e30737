/** The cluster's certificate authority, kept in the state folder: server and client certificates, the key for tokens. */
import 'reflect-metadata';
import { createPrivateKey, randomBytes, type webcrypto, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { MeshError } from '@tulle/api';
import { KUBERNETES_SERVICE_IP, serviceAddress, serviceOffset } from '../service-addresses.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3600 * 1000;
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
/** Certificates with less left are made anew at start. */
const RENEW_DAYS = 30;

export interface KeyPair {
  certPem: string;
  keyPem: string;
}

export interface Pki {
  caPem: string;
  server: KeyPair;
  serviceAccountKeyPem: string;
  /** A client certificate: CN is the user, O the groups. */
  issueClient(user: string, groups?: readonly string[]): Promise<KeyPair>;
}

const SERVER_NAMES = [
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
];

/** Opens the authority in `dir`, or makes one; without `dir` it lives in memory. */
export async function openPki(dir: string | undefined, addresses: readonly string[] = []): Promise<Pki> {
  if (dir !== undefined) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const ca = await openAuthority(dir);
  const offset = serviceOffset(KUBERNETES_SERVICE_IP)!;
  const ips = ['127.0.0.1', '::1', KUBERNETES_SERVICE_IP, serviceAddress(offset, 'IPv6'), ...addresses];
  const server = await ca.issue(
    'CN=kube-apiserver',
    [x509.ExtendedKeyUsage.serverAuth],
    [
      ...SERVER_NAMES.map((value): x509.JsonGeneralName => ({ type: 'dns', value })),
      ...ips.map((value): x509.JsonGeneralName => ({ type: 'ip', value })),
    ],
  );
  const serviceAccountKeyPem = await readOr(dir, 'service-account.key', async () =>
    exportKey((await generateKeys()).privateKey),
  );
  return {
    caPem: ca.certPem,
    server,
    serviceAccountKeyPem,
    issueClient: (user, groups = []) => {
      const subject = [{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))];
      return ca.issue(subject, [x509.ExtendedKeyUsage.clientAuth], []);
    },
  };
}

interface Authority {
  certPem: string;
  issue(
    subject: string | x509.JsonName,
    usages: x509.ExtendedKeyUsage[],
    names: x509.JsonGeneralName[],
  ): Promise<KeyPair>;
}

async function openAuthority(dir: string | undefined): Promise<Authority> {
  let keyPem = readIf(dir, 'ca.key');
  let certPem = readIf(dir, 'ca.crt');
  if (keyPem === undefined || certPem === undefined || isNearEnd(certPem)) {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: 'CN=kubernetes',
      notBefore: new Date(Date.now() - 3600_000),
      notAfter: new Date(Date.now() + CA_DAYS * DAY_MS),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    keyPem = await exportKey(keys.privateKey);
    certPem = `${certificate.toString('pem')}\n`;
    writeIf(dir, 'ca.key', keyPem);
    writeIf(dir, 'ca.crt', certPem);
  }
  const pkcs8 = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' });
  const signingKey = await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), ALGORITHM, true, ['sign']);
  const issuer = new x509.X509Certificate(certPem);
  return {
    certPem,
    issue: async (subject, usages, names) => {
      const keys = await generateKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        subject,
        issuer: issuer.subjectName.toJSON(),
        notBefore: new Date(Date.now() - 3600_000),
        notAfter: new Date(Date.now() + LEAF_DAYS * DAY_MS),
        publicKey: keys.publicKey,
        signingKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension(usages),
          await x509.AuthorityKeyIdentifierExtension.create(issuer),
          ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        ],
      });
      return { certPem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
    },
  };
}

function isNearEnd(certPem: string): boolean {
  return Date.parse(new X509Certificate(certPem).validTo) - Date.now() < RENEW_DAYS * DAY_MS;
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

const serial = () => `00${randomBytes(15).toString('hex')}`;

async function readOr(dir: string | undefined, file: string, make: () => Promise<string>): Promise<string> {
  const present = readIf(dir, file);
  if (present !== undefined) return present;
  const text = await make();
  writeIf(dir, file, text);
  return text;
}

function readIf(dir: string | undefined, file: string): string | undefined {
  if (dir === undefined) return undefined;
  const path = join(dir, file);
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  if (!text.startsWith('-----BEGIN')) throw new MeshError('DATA_LOSS', `read ${path}: not PEM`);
  return text;
}

/** Written beside and renamed, so that a kill never leaves half a file. */
function writeIf(dir: string | undefined, file: string, text: string): void {
  if (dir === undefined) return;
  const path = join(dir, file);
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
