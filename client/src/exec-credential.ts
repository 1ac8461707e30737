/**
 * Tokens from a credential plugin (`users[].user.exec`), as the managed clusters of cloud providers need.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */

import { execFile } from 'node:child_process';
import { MeshError } from '@tulle/api';

export interface ExecSpec {
  apiVersion?: string;
  args?: string[];
  env?: Array<{ name: string; value: string }>;
  installHint?: string;
}

/** A plugin may wait for a person to log in. */
const PLUGIN_MS_MAX = 120_000;
/** A token this close to its end is not used for another request. */
const EXPIRY_MARGIN_MS = 10_000;

/** Runs the plugin for the first request and whenever its token has expired; concurrent requests share one run. */
export function tokenFromExec(spec: ExecSpec, command: string, environment: NodeJS.ProcessEnv): () => Promise<string> {
  let pending: Promise<{ token: string; expiresAtMs: number }> | undefined;
  return async () => {
    pending ??= run(spec, command, environment);
    try {
      const credential = await pending;
      if (Date.now() < credential.expiresAtMs - EXPIRY_MARGIN_MS) return credential.token;
    } catch (error) {
      pending = undefined;
      throw error;
    }
    pending = run(spec, command, environment);
    return (await pending).token;
  };
}

async function run(spec: ExecSpec, command: string, environment: NodeJS.ProcessEnv) {
  const apiVersion = spec.apiVersion ?? 'client.authentication.k8s.io/v1';
  const env = {
    ...environment,
    ...Object.fromEntries((spec.env ?? []).map(({ name, value }) => [name, value])),
    KUBERNETES_EXEC_INFO: JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: { interactive: false } }),
  };
  const output = await new Promise<string>((resolve, reject) => {
    execFile(command, spec.args ?? [], { env, timeout: PLUGIN_MS_MAX }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const reason = stderr.trim() || error.message;
      const hint = spec.installHint ? ` (${spec.installHint.trim()})` : '';
      reject(new MeshError('UNAUTHENTICATED', `run credential plugin ${command}: ${reason}${hint}`, { cause: error }));
    });
  });
  const status = parseCredential(output, command);
  if (!status.token) {
    throw new MeshError(
      'UNIMPLEMENTED',
      `run credential plugin ${command}: only plugins that print a token are supported`,
    );
  }
  const expiresAtMs = status.expirationTimestamp ? Date.parse(status.expirationTimestamp) : Number.POSITIVE_INFINITY;
  return { token: status.token, expiresAtMs };
}

function parseCredential(output: string, command: string): { token?: string; expirationTimestamp?: string } {
  try {
    const credential = JSON.parse(output);
    if (credential?.kind === 'ExecCredential' && credential.status) return credential.status;
  } catch {
    // the message below says it
  }
  throw new MeshError('UNAUTHENTICATED', `run credential plugin ${command}: did not print an ExecCredential`);
}
