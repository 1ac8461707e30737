/** Where the issuer's PEMs come from: mounted files, read again now and then, or the API server's objects, watched. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG_MAPS, type ConfigMap, MeshError, SECRETS, type Secret } from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { IssuerPems } from './issuer.ts';

export interface IssuerSourceOptions {
  /** Folder of the issuer's files; empty: Secret `linkerd-identity-issuer`. */
  issuerPath: string;
  /** File of the trust anchors; empty: ConfigMap `linkerd-identity-trust-roots`. */
  trustAnchorsPath: string;
  namespace: string;
  client: Client;
}

export interface SourceListener {
  onPems(pems: IssuerPems): void;
  onError(error: MeshError): void;
}

/** A mounted Secret follows its object within a minute or so; reading three small files costs nothing. */
const POLL_MS = 5_000;
const SECRET_NAME = 'linkerd-identity-issuer';
const CONFIG_MAP_NAME = 'linkerd-identity-trust-roots';
const ANCHORS_KEY = 'ca-bundle.crt';
/** Certificate, key and, for one scheme, trust anchors: `linkerd.io/tls`, then `kubernetes.io/tls`. */
const SCHEMES = [
  { certificates: 'crt.pem', key: 'key.pem', trustAnchors: undefined },
  { certificates: 'tls.crt', key: 'tls.key', trustAnchors: 'ca.crt' },
] as const;

interface IssuerPart {
  certificates: string;
  key: string;
  /** Used only where there are no trust anchors of their own. */
  trustAnchors?: string;
}

/** Tells of the PEMs once they are complete and after each change, until the signal is aborted. */
export function startIssuerSource(options: IssuerSourceOptions, listener: SourceListener, signal: AbortSignal): void {
  let issuer: IssuerPart | undefined;
  let anchors: string | undefined;
  let told = '';
  const tell = () => {
    const trustAnchors = anchors ?? issuer?.trustAnchors;
    if (!issuer || trustAnchors === undefined) return;
    const pems = { certificates: issuer.certificates, key: issuer.key, trustAnchors };
    const text = JSON.stringify(pems);
    if (text === told) return;
    told = text;
    listener.onPems(pems);
  };
  const setIssuer = (part: IssuerPart) => {
    issuer = part;
    tell();
  };
  const setAnchors = (pem: string) => {
    anchors = pem;
    tell();
  };
  if (options.issuerPath) pollFiles(() => readIssuer(options.issuerPath), setIssuer, listener, signal);
  else watchSecret(options, setIssuer, listener, signal);
  if (options.trustAnchorsPath) pollFiles(() => readText(options.trustAnchorsPath), setAnchors, listener, signal);
  else watchAnchors(options, setAnchors, listener, signal);
}

/** A failure is told once, until it is another. */
async function pollFiles<T>(
  read: () => Promise<T>,
  onRead: (value: T) => void,
  { onError }: SourceListener,
  signal: AbortSignal,
): Promise<void> {
  let lastError = '';
  while (!signal.aborted) {
    try {
      onRead(await read());
      lastError = '';
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.message !== lastError) onError(error);
      lastError = error.message;
    }
    await sleep(POLL_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

async function readIssuer(folder: string): Promise<IssuerPart> {
  const errors: unknown[] = [];
  for (const scheme of SCHEMES) {
    try {
      const [certificates, key] = await Promise.all([
        readText(join(folder, scheme.certificates)),
        readText(join(folder, scheme.key)),
      ]);
      const { trustAnchors } = scheme;
      const anchors = trustAnchors ? await readText(join(folder, trustAnchors)).catch(() => undefined) : undefined;
      return { certificates, key, trustAnchors: anchors };
    } catch (cause) {
      errors.push(cause);
    }
  }
  throw errors[0];
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new MeshError('FAILED_PRECONDITION', `read ${path}: ${code ?? 'failed'}`, { cause });
  }
}

function watchSecret(
  { client, namespace }: IssuerSourceOptions,
  onIssuer: (part: IssuerPart) => void,
  { onError }: SourceListener,
  signal: AbortSignal,
): void {
  const selection = { namespace, fieldSelector: `metadata.name=${SECRET_NAME}`, onError };
  startReflector<Secret>(client, SECRETS, selection, signal).subscribe(({ type, object }) => {
    if (type === 'deleted') return onError(new MeshError('NOT_FOUND', `Secret ${SECRET_NAME} was deleted`));
    const text = (key: string) => {
      const value = object.data?.[key];
      return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
    };
    for (const scheme of SCHEMES) {
      const certificates = text(scheme.certificates);
      const key = text(scheme.key);
      if (certificates === undefined || key === undefined) continue;
      const trustAnchors = scheme.trustAnchors && text(scheme.trustAnchors);
      return onIssuer({ certificates, key, trustAnchors });
    }
    onError(
      new MeshError(
        'FAILED_PRECONDITION',
        `Secret ${SECRET_NAME} has neither crt.pem and key.pem nor tls.crt and tls.key`,
      ),
    );
  });
}

function watchAnchors(
  { client, namespace }: IssuerSourceOptions,
  onAnchors: (pem: string) => void,
  { onError }: SourceListener,
  signal: AbortSignal,
): void {
  const selection = { namespace, fieldSelector: `metadata.name=${CONFIG_MAP_NAME}`, onError };
  startReflector<ConfigMap>(client, CONFIG_MAPS, selection, signal).subscribe(({ type, object }) => {
    const pem = object.data?.[ANCHORS_KEY];
    if (type === 'deleted') onError(new MeshError('NOT_FOUND', `ConfigMap ${CONFIG_MAP_NAME} was deleted`));
    else if (pem === undefined)
      onError(new MeshError('FAILED_PRECONDITION', `ConfigMap ${CONFIG_MAP_NAME} has no ${ANCHORS_KEY}`));
    else onAnchors(pem);
  });
}
