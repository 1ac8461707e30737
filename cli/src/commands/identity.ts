/** `tulle identity`: the certificate that a pod's proxy shows, as text. */
import type { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { MeshError, PODS, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Command } from 'commander';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';
import { adminPort, identityOf, isMeshed, proxyContainer } from '../mesh/mesh-pods.ts';
import { getNamed } from '../mesh/named-objects.ts';

/** Of RFC 5280, 4.2.1.12. */
const KEY_USAGES: Record<string, string> = { '1.3.6.1.5.5.7.3.1': 'serverAuth', '1.3.6.1.5.5.7.3.2': 'clientAuth' };
const HANDSHAKE_MS_MAX = 10_000;

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('identity'))
    .argument('[pod...]', 'names of pods')
    .description("Show the certificates of pods' proxies")
    .option('-l, --selector <selector>', 'pods with these labels')
    .action((names: string[]) => identity(names, globalOptions(command), command.opts()));
}

async function identity(names: string[], globals: GlobalOptions, { selector }: { selector?: string }): Promise<void> {
  if (!names.length && !selector)
    throw new MeshError('INVALID_ARGUMENT', 'name a pod, or select pods by label with -l');
  await withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const pods = selector
      ? (await client.list<Pod>(PODS, { namespace, labelSelector: selector })).items.filter(isRunning)
      : await Promise.all(
          names.map((name) => getNamed(client, { kind: PODS, label: 'pod', name }, namespace) as Promise<Pod>),
        );
    if (!pods.length) throw new MeshError('NOT_FOUND', `no pods with labels ${selector} in namespace ${namespace}`);
    for (const [i, pod] of pods.entries()) {
      process.stdout.write(`\nPOD ${pod.metadata.name} (${i + 1} of ${pods.length})\n\n`);
      try {
        process.stdout.write(certificateText(await certificateOf(client, pod)));
      } catch (error) {
        process.stdout.write(`ERROR ${MeshError.from(error).message}\n`);
        process.exitCode = 1;
      }
    }
  });
}

const isRunning = ({ metadata, status }: Pod) => status?.phase === 'Running' && !metadata.deletionTimestamp;

/** By the admin port, which speaks TLS too; a proxy whose admin port does not is asked on its inbound port. */
async function certificateOf(client: Client, pod: Pod): Promise<X509Certificate> {
  if (!isMeshed(pod)) throw new MeshError('FAILED_PRECONDITION', `pod ${pod.metadata.name} has no proxy`);
  const inbound = proxyContainer(pod)?.ports?.find(({ name }) => name === 'linkerd-proxy')?.containerPort ?? 4143;
  try {
    return await handshake(client, pod, adminPort(pod));
  } catch {
    return handshake(client, pod, inbound);
  }
}

async function handshake(client: Client, pod: Pod, port: number): Promise<X509Certificate> {
  const { name, namespace = '' } = pod.metadata;
  const stream: Duplex = await client.portForward(namespace, name, port, AbortSignal.timeout(HANDSHAKE_MS_MAX));
  try {
    return await new Promise((resolve, reject) => {
      // It is only looked at: nothing is sent over the connection, so that it need not be trusted.
      const socket = connectTls({
        socket: stream,
        servername: identityOf(pod),
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      });
      socket.once('secureConnect', () => {
        const certificate = socket.getPeerX509Certificate();
        if (certificate) resolve(certificate);
        else reject(new MeshError('UNAVAILABLE', 'the proxy showed no certificate'));
        socket.destroy();
      });
      socket.once('error', reject);
      stream.once('error', reject);
      stream.once('close', () => reject(new MeshError('UNAVAILABLE', 'the proxy closed the connection')));
    });
  } catch (error) {
    const { message } = MeshError.from(error);
    throw new MeshError('UNAVAILABLE', `TLS handshake with ${namespace}/${name}:${port}: ${message}`, { cause: error });
  } finally {
    stream.destroy();
  }
}

export function certificateText(certificate: X509Certificate): string {
  const line = (names: string) => names?.split('\n').join(', ') || '(empty)';
  const key = certificate.publicKey;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return [
    'Certificate:',
    '    Data:',
    `        Serial Number: ${certificate.serialNumber}`,
    `        Issuer: ${line(certificate.issuer)}`,
    '        Validity',
    `            Not Before: ${certificate.validFrom}`,
    `            Not After : ${certificate.validTo}`,
    `        Subject: ${line(certificate.subject)}`,
    `        Subject Public Key Info: ${key.asymmetricKeyType}${curve ? ` ${curve}` : ''}`,
    '        X509v3 extensions:',
    `            Subject Alternative Name: ${certificate.subjectAltName ?? '(none)'}`,
    `            Extended Key Usage: ${(certificate.keyUsage ?? []).map((oid) => KEY_USAGES[oid] ?? oid).join(', ') || '(none)'}`,
    `    Fingerprint SHA-256: ${certificate.fingerprint256}`,
    '',
  ].join('\n');
}
