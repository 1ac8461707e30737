import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadInClusterConfig } from './in-cluster.ts';
import { loadKubeconfig } from './kubeconfig.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n';

function folder(t: TestContext, files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  t.after(() => rmSync(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, '..'), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

const ONE = `
apiVersion: v1
kind: Config
current-context: dev
contexts:
- name: dev
  context: { cluster: c, user: u, namespace: emojivoto }
clusters:
- name: c
  cluster: { server: "https://127.0.0.1:6443", certificate-authority: pki/ca.crt, tls-server-name: kubernetes }
users:
- name: u
  user: { client-certificate-data: ${Buffer.from(PEM).toString('base64')}, client-key: pki/key, as: jane, as-groups: [dev] }
`;

test('reads certificates from data and from files beside the kubeconfig', async (t) => {
  const path = folder(t, { config: ONE, 'pki/ca.crt': PEM, 'pki/key': PEM });
  const config = loadKubeconfig({ path: join(path, 'config') });
  assert.deepEqual(config, {
    server: 'https://127.0.0.1:6443',
    caPem: PEM,
    tlsServerName: 'kubernetes',
    clientCertPem: PEM,
    clientKeyPem: PEM,
    asUser: 'jane',
    asGroups: ['dev'],
    namespace: 'emojivoto',
  });
});

test('merges the files of KUBECONFIG, the first to say something wins, missing files are skipped', async (t) => {
  const path = folder(t, {
    first: 'current-context: both\ncontexts: [{ name: both, context: { cluster: c, user: u } }]',
    second: `
current-context: other
clusters: [{ name: c, cluster: { server: "http://localhost:1", insecure-skip-tls-verify: true } }]
users: [{ name: u, user: { tokenFile: token } }]`,
    token: 'secret\n',
  });
  const environment = { KUBECONFIG: [join(path, 'first'), join(path, 'none'), join(path, 'second')].join(':') };
  const config = loadKubeconfig({ environment });
  assert.equal(config.server, 'http://localhost:1');
  assert.equal(config.insecureSkipTlsVerify, true);
  assert.equal(config.namespace, 'default');
  assert.equal(await config.token?.(), 'secret');
});

test('takes a token from a credential plugin', async (t) => {
  const credential = { kind: 'ExecCredential', status: { token: 'from-plugin' } };
  const path = folder(t, {
    config: `
contexts: [{ name: x, context: { cluster: c, user: u } }]
clusters: [{ name: c, cluster: { server: "https://localhost:1" } }]
users: [{ name: u, user: { exec: { command: "${process.execPath}", args: ["-e", "console.log(process.env.OUT)"], env: [{ name: OUT, value: '${JSON.stringify(credential)}' }] } } }]`,
  });
  const config = loadKubeconfig({ path: join(path, 'config'), context: 'x' });
  assert.equal(await config.token?.(), 'from-plugin');
});

test('a malformed kubeconfig is an error that names the file and the field', async (t) => {
  const base = (cluster: string, user = '{}') =>
    `current-context: x\ncontexts: [{ name: x, context: { cluster: c, user: u } }]\n` +
    `clusters: [{ name: c, cluster: ${cluster} }]\nusers: [{ name: u, user: ${user} }]\n`;
  const good = '{ server: "https://h:1" }';
  const cases: Array<[text: string, message: RegExp]> = [
    ['a: [', /not YAML/],
    ['- a', /the file is not a map/],
    ['', /current-context is not set/],
    ['current-context: x', /contexts has no context named "x"/],
    ['current-context: x\ncontexts: 7', /contexts is not a list/],
    [
      'current-context: x\ncontexts: [{ name: x, context: { cluster: 5 } }]',
      /contexts\[x\]\.context\.cluster is not a string/,
    ],
    [base('{}'), /clusters\[c\]\.cluster\.server is missing/],
    [base('{ server: nonsense }'), /clusters\[c\]\.cluster\.server is not an http or https URL: nonsense/],
    [base('{ server: "https://h", proxy-url: "http://p" }'), /clusters\[c\]\.cluster\.proxy-url is not supported/],
    [base('{ server: "https://h", certificate-authority: nowhere }'), /certificate-authority cannot be read: ENOENT/],
    [
      base('{ server: "https://h", certificate-authority-data: "%%" }'),
      /certificate-authority-data is not PEM in base64/,
    ],
    [base('{ server: "https://h", insecure-skip-tls-verify: maybe }'), /insecure-skip-tls-verify is not true or false/],
    [
      base(good, `{ client-certificate-data: ${Buffer.from(PEM).toString('base64')} }`),
      /users\[u\]\.user\.client-key is missing/,
    ],
    [base(good, '{ auth-provider: { name: gcp } }'), /users\[u\]\.user\.auth-provider is not supported/],
    [base(good, '{ exec: { args: [] } }'), /users\[u\]\.user\.exec\.command is missing/],
  ];
  for (const [text, message] of cases) {
    const path = join(folder(t, { config: text }), 'config');
    assert.throws(
      () => loadKubeconfig({ path }),
      (error: Error) => {
        assert.match(error.message, message);
        assert.ok(error.message.includes(path), error.message);
        return true;
      },
    );
  }
  assert.throws(() => loadKubeconfig({ path: '/nowhere/config' }), { code: 'NOT_FOUND' });
  assert.throws(() => loadKubeconfig({ environment: { HOME: '/nowhere' } }), /no such file: \/nowhere\/\.kube\/config/);
});

test('in a pod, reads the files of the service account', async (t) => {
  const path = folder(t, { 'ca.crt': PEM, token: 't1', namespace: 'ns\n' });
  const config = loadInClusterConfig({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }, path);
  assert.equal(config.server, 'https://[fd00::1]:443');
  assert.equal(config.namespace, 'ns');
  assert.equal(await config.token?.(), 't1');
  assert.throws(() => loadInClusterConfig({}, path), /KUBERNETES_SERVICE_HOST/);
});
