/** kubectl and the cluster that it speaks to: an API server in memory without controllers, or the one of TEST_KUBECONFIG. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { startApiServer } from '@tulle/cluster/apiserver/server.ts';
import { setLogLevel } from '@tulle/cluster/logger.ts';
import { createKubectl, type Kubectl } from './kubectl.ts';

export interface KubectlCluster {
  kubectl: Kubectl;
  kubeconfig: string;
  isForeign: boolean;
}

/** For the whole test file; ends with it. */
export async function openKubectl(): Promise<KubectlCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'kubectl-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const foreign = process.env.TEST_KUBECONFIG;
  const kubeconfig = foreign ?? join(folder, 'kubeconfig');
  if (!foreign) writeFileSync(kubeconfig, await startInMemory());
  return { kubectl: createKubectl(kubeconfig, folder), kubeconfig, isForeign: foreign !== undefined };
}

/** @returns a kubeconfig of its administrator. */
async function startInMemory(): Promise<string> {
  setLogLevel('warn');
  const server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 0 }] });
  after(() => server[Symbol.asyncDispose]());
  const { certPem, keyPem } = await server.pki.issueClient('jane', ['system:masters']);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const cluster = {
    server: `https://127.0.0.1:${server.port}`,
    'certificate-authority-data': base64(server.pki.caPem),
  };
  const user = { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'jane', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'jane' } }],
  });
}
