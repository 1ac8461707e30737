import { writeFileSync } from 'node:fs';
import { startApiServer } from '@tulle/cluster/apiserver/server.ts';
import { startControllers } from '@tulle/cluster/controllers/start-controllers.ts';
import { createClient } from '@tulle/client';
const server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 17443 }], addresses: ['127.0.0.1'] });
server.setReady(true);
const { port } = server; const pki = { caPem: server.pki.caPem, admin: await server.pki.issueClient('kubernetes-admin', ['system:masters']) };
const b = (t: string) => Buffer.from(t).toString('base64');
writeFileSync('/tmp/c2/kubeconfig', `apiVersion: v1
kind: Config
current-context: t
clusters: [{name: t, cluster: {server: "https://127.0.0.1:${port}", certificate-authority-data: ${b(pki.caPem)}}}]
users: [{name: a, user: {client-certificate-data: ${b(pki.admin.certPem)}, client-key-data: ${b(pki.admin.keyPem)}}}]
contexts: [{name: t, context: {cluster: t, user: a}}]
`);
const client = createClient({ server: `https://127.0.0.1:${port}`, caPem: pki.caPem, clientCertPem: pki.admin.certPem, clientKeyPem: pki.admin.keyPem, namespace: 'default' });
startControllers({ client, signal: new AbortController().signal });
console.log('ready');
