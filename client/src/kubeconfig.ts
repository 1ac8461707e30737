/**
 * Kubeconfig files: the one named, those of KUBECONFIG, or ~/.kube/config, merged as kubectl merges them (the first
 * file to say something wins). https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig
 */

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { MeshError } from '@tulle/api';
import { parseDocument } from 'yaml';
import type { ClusterConfig } from './cluster-config.ts';
import { type ExecSpec, tokenFromExec } from './exec-credential.ts';
import { tokenFromFile } from './in-cluster.ts';

export interface KubeconfigOptions {
  path?: string;
  context?: string;
  environment?: NodeJS.ProcessEnv;
}

/** @throws MeshError `INVALID_ARGUMENT` naming the file and the field, `NOT_FOUND` where there is no file. */
export function loadKubeconfig(options: KubeconfigOptions = {}): ClusterConfig {
  const environment = options.environment ?? process.env;
  const files = readFiles(options.path, environment);
  const all = files.map((file) => file.path).join(', ');
  const current = files.find((file) => file.content['current-context']);
  const contextName = options.context ?? current?.text(current.content, 'current-context', 'current-context');
  if (!contextName) throw invalid(all, 'current-context', 'is not set, and no context was given');

  const context = entry(files, 'contexts', 'context', contextName);
  if (!context) throw invalid(all, 'contexts', `has no context named ${JSON.stringify(contextName)}`);
  const clusterName = context.file.text(context.value, 'cluster', `${context.at}.cluster`);
  if (!clusterName) throw invalid(context.file.path, `${context.at}.cluster`, 'is missing');
  const cluster = entry(files, 'clusters', 'cluster', clusterName);
  if (!cluster) throw invalid(all, 'clusters', `has no cluster named ${JSON.stringify(clusterName)}`);
  const userName = context.file.text(context.value, 'user', `${context.at}.user`);
  const user = userName ? entry(files, 'users', 'user', userName) : undefined;
  if (userName && !user) throw invalid(all, 'users', `has no user named ${JSON.stringify(userName)}`);

  return {
    ...clusterPart(cluster),
    ...(user ? userPart(user, environment) : {}),
    namespace: context.file.text(context.value, 'namespace', `${context.at}.namespace`) || 'default',
  };
}

type Fields = Record<string, unknown>;

interface Entry {
  file: File;
  value: Fields;
  /** Where it stands in its file, for messages. */
  at: string;
}

/** One kubeconfig file; knows its path, for messages and for the relative paths in it. */
class File {
  readonly path: string;
  readonly content: Fields;

  constructor(path: string, content: Fields) {
    this.path = path;
    this.content = content;
  }

  text(fields: Fields, name: string, at: string): string | undefined {
    const value = fields[name];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw invalid(this.path, at, 'is not a string');
    return value;
  }

  /** PEM text from `NAME-data` (base64) or the file that `NAME` names. */
  pem(fields: Fields, name: string, at: string): string | undefined {
    const data = this.text(fields, `${name}-data`, `${at}.${name}-data`);
    if (data) {
      const pem = /^[A-Za-z0-9+/=\s]+$/.test(data) ? Buffer.from(data, 'base64').toString('utf8') : '';
      if (!pem.includes('-----BEGIN ')) throw invalid(this.path, `${at}.${name}-data`, 'is not PEM in base64');
      return pem;
    }
    const path = this.text(fields, name, `${at}.${name}`);
    if (!path) return undefined;
    let pem: string;
    try {
      pem = readFileSync(this.absolute(path), 'utf8');
    } catch (cause) {
      throw invalid(this.path, `${at}.${name}`, `cannot be read: ${(cause as Error).message}`, cause);
    }
    if (!pem.includes('-----BEGIN ')) throw invalid(this.path, `${at}.${name}`, `names ${path}, which is not PEM`);
    return pem;
  }

  absolute(path: string): string {
    return resolve(dirname(this.path), path);
  }
}

function clusterPart({ file, value, at }: Entry): Pick<ClusterConfig, 'server'> & Partial<ClusterConfig> {
  const server = file.text(value, 'server', `${at}.server`);
  if (!server) throw invalid(file.path, `${at}.server`, 'is missing');
  if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
    throw invalid(file.path, `${at}.server`, `is not an http or https URL: ${server}`);
  }
  if (file.text(value, 'proxy-url', `${at}.proxy-url`)) {
    throw new MeshError('UNIMPLEMENTED', `load kubeconfig ${file.path}: ${at}.proxy-url is not supported`);
  }
  const skipsVerify = value['insecure-skip-tls-verify'];
  if (skipsVerify !== undefined && typeof skipsVerify !== 'boolean') {
    throw invalid(file.path, `${at}.insecure-skip-tls-verify`, 'is not true or false');
  }
  return {
    server,
    ...defined({
      caPem: file.pem(value, 'certificate-authority', at),
      tlsServerName: file.text(value, 'tls-server-name', `${at}.tls-server-name`),
      insecureSkipTlsVerify: skipsVerify,
    }),
  };
}

function userPart({ file, value, at }: Entry, environment: NodeJS.ProcessEnv): Partial<ClusterConfig> {
  const clientCertPem = file.pem(value, 'client-certificate', at);
  const clientKeyPem = file.pem(value, 'client-key', at);
  if (!clientCertPem !== !clientKeyPem) {
    throw invalid(file.path, `${at}.client-${clientCertPem ? 'key' : 'certificate'}`, 'is missing');
  }
  for (const name of ['auth-provider', 'username', 'password']) {
    if (value[name])
      throw new MeshError('UNIMPLEMENTED', `load kubeconfig ${file.path}: ${at}.${name} is not supported`);
  }
  const groups = value['as-groups'];
  if (groups !== undefined && !(Array.isArray(groups) && groups.every((group) => typeof group === 'string'))) {
    throw invalid(file.path, `${at}.as-groups`, 'is not a list of strings');
  }
  return defined({
    clientCertPem,
    clientKeyPem,
    token: tokenOf(file, value, at, environment),
    asUser: file.text(value, 'as', `${at}.as`),
    asGroups: groups as string[] | undefined,
  });
}

function tokenOf(file: File, value: Fields, at: string, environment: NodeJS.ProcessEnv): ClusterConfig['token'] {
  const tokenFile = file.text(value, 'tokenFile', `${at}.tokenFile`);
  if (tokenFile) return tokenFromFile(file.absolute(tokenFile));
  const token = file.text(value, 'token', `${at}.token`);
  if (token) return async () => token;
  const exec = value.exec;
  if (exec === undefined || exec === null) return undefined;
  const command = isFields(exec) ? file.text(exec, 'command', `${at}.exec.command`) : undefined;
  if (!command) throw invalid(file.path, `${at}.exec.command`, 'is missing');
  return tokenFromExec(exec as ExecSpec, command.includes('/') ? file.absolute(command) : command, environment);
}

function entry(files: File[], list: string, field: string, name: string): Entry | undefined {
  for (const file of files) {
    const entries = file.content[list];
    if (entries === undefined || entries === null) continue;
    if (!Array.isArray(entries)) throw invalid(file.path, list, 'is not a list');
    const index = entries.findIndex((candidate) => isFields(candidate) && candidate.name === name);
    if (index < 0) continue;
    const at = `${list}[${name}].${field}`;
    const value = entries[index][field] ?? {};
    if (!isFields(value)) throw invalid(file.path, at, 'is not a map');
    return { file, value, at };
  }
  return undefined;
}

function readFiles(path: string | undefined, environment: NodeJS.ProcessEnv): File[] {
  const named = path ? [path] : (environment.KUBECONFIG ?? '').split(delimiter).filter((name) => name !== '');
  const candidates = named.length > 0 ? named : [join(environment.HOME || homedir(), '.kube', 'config')];
  // As with kubectl, one file of a list may be missing, and a file that was asked for may not.
  const present = path ? candidates : candidates.filter((candidate) => existsSync(candidate));
  if (present.length === 0) throw new MeshError('NOT_FOUND', `load kubeconfig: no such file: ${candidates.join(', ')}`);
  return present.map(readOne);
}

function readOne(path: string): File {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new MeshError('NOT_FOUND', `load kubeconfig ${path}: ${(cause as Error).message}`, { cause });
  }
  const document = parseDocument(text);
  const problem = document.errors[0];
  if (problem) {
    const message = `load kubeconfig ${path}: not YAML: ${problem.message.split('\n')[0]?.replace(/:$/, '')}`;
    throw new MeshError('INVALID_ARGUMENT', message, { cause: problem });
  }
  const content = document.toJS() ?? {};
  if (!isFields(content)) throw invalid(path, 'the file', 'is not a map');
  return new File(path, content);
}

function invalid(path: string, field: string, problem: string, cause?: unknown): MeshError {
  return new MeshError('INVALID_ARGUMENT', `load kubeconfig ${path}: ${field} ${problem}`, { cause });
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
