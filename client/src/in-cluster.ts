/** The configuration of a process in a pod, from the files of its service account. */

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '@tulle/api';
import type { ClusterConfig } from './cluster-config.ts';

const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The kubelet replaces the file when 80 % of the token's life (at least 10 min) is over; a minute late is in time. */
const TOKEN_CACHED_MS = 60_000;

/** @throws MeshError `FAILED_PRECONDITION` outside a pod, naming the variable or file that is missing. */
export function loadInClusterConfig(
  environment: NodeJS.ProcessEnv = process.env,
  folder = SERVICE_ACCOUNT_FOLDER,
): ClusterConfig {
  const host = environment.KUBERNETES_SERVICE_HOST;
  const port = environment.KUBERNETES_SERVICE_PORT;
  if (!host || !port) {
    throw new MeshError(
      'FAILED_PRECONDITION',
      'load in-cluster configuration: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set',
    );
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    caPem: readSync(join(folder, 'ca.crt')),
    token: tokenFromFile(join(folder, 'token')),
    namespace: readSync(join(folder, 'namespace')).trim(),
  };
}

/** A token that is read from its file again when the copy is older than a minute. */
export function tokenFromFile(path: string): () => Promise<string> {
  let token = '';
  let readAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - readAtMs < TOKEN_CACHED_MS) return token;
    try {
      token = (await readFile(path, 'utf8')).trim();
    } catch (cause) {
      throw new MeshError('UNAUTHENTICATED', `read token from ${path}: ${(cause as Error).message}`, { cause });
    }
    readAtMs = performance.now();
    return token;
  };
}

function readSync(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new MeshError(
      'FAILED_PRECONDITION',
      `load in-cluster configuration from ${path}: ${(cause as Error).message}`,
      { cause },
    );
  }
}
