import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tulle-cli-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Runs the command line in an environment without any cluster. */
function tulle(args: string[], input = ''): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, HOME: folder, KUBECONFIG: join(folder, 'none'), NO_COLOR: '1' };
    const child = execFile(process.execPath, [program, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

const kubeconfig = (server: string) => `
apiVersion: v1
kind: Config
current-context: c
clusters: [{ name: c, cluster: { server: "${server}" } }]
users: [{ name: u, user: {} }]
contexts: [{ name: c, context: { cluster: c, user: u } }]
`;

/** What is wrong, the arguments, the exit code, what standard error says. */
const failures: [string, string[], number, RegExp][] = [
  ['no kubeconfig', ['stat', 'deploy'], 1, /^tulle: load kubeconfig: .*none/],
  ['a kubeconfig that is no YAML', ['check', '--kubeconfig', file('bad.yaml', 'a: [')], 1, /^$/],
  [
    'a kubeconfig without clusters',
    ['stat', 'po', '--kubeconfig', file('empty.yaml', '{}')],
    1,
    /^tulle: .*empty\.yaml/,
  ],
  [
    'a cluster that does not answer',
    ['edges', 'po', '--kubeconfig', file('away.yaml', kubeconfig('http://127.0.0.1:1'))],
    1,
    /^tulle: .*127\.0\.0\.1:1.*\n {2}is the cluster running\?/,
  ],
  ['an unknown command', ['frobnicate'], 2, /unknown command 'frobnicate'/],
  ['a command that is to come', ['tap', 'deploy/web'], 1, /^tulle: tap is not here yet/],
  ['an unknown option', ['stat', 'deploy', '--frob'], 2, /unknown option '--frob'/],
  ['an unknown output', ['stat', 'deploy', '-o', 'xml'], 1, /^tulle: --output xml: want one of table, wide, json/],
  [
    'a namespace that cannot be',
    ['stat', 'deploy', '-n', 'Shop!'],
    1,
    /^tulle: --namespace "Shop!": not the name of a namespace/,
  ],
  ['a time window that cannot be', ['stat', 'deploy', '-t', '10'], 1, /^tulle: --time-window 10: want a duration/],
  ['a manifest that is not there', ['inject', join(folder, 'gone.yaml')], 1, /^tulle: read .*gone\.yaml/],
  ['a manifest that is no YAML', ['inject', file('broken.yaml', 'a: [b\nc: }')], 1, /^tulle: read .*broken\.yaml: /],
  [
    'a URL where nothing answers',
    ['inject', 'http://127.0.0.1:1/x.yaml'],
    1,
    /^tulle: fetch http:\/\/127\.0\.0\.1:1\/x\.yaml: /,
  ],
  [
    'one certificate of three',
    ['install', '--ignore-cluster', '--identity-issuer-key-file', 'x'],
    1,
    /^tulle: give all of --identity-trust-anchors-file/,
  ],
  [
    'values that are wrong',
    ['install', '--ignore-cluster', '--set', 'proxy.logFormat=xml'],
    1,
    /^tulle: read values: proxy\.logFormat="xml": want one of plain, json/,
  ],
  [
    'a profile from nothing',
    ['profile', 'web', '--ignore-cluster'],
    1,
    /^tulle: give one of --template, --open-api and/,
  ],
  [
    'definitions with a value that they have not',
    ['install', '--crds', '--ignore-cluster', '--set', 'a=b'],
    1,
    /^tulle: --set a=b: with --crds only installGatewayAPI/,
  ],
  ['a shell that nobody has', ['completion', 'csh'], 1, /^tulle: "csh": want one of bash, zsh, fish/],
];

describe('the command line', { concurrency: 2 }, () => {
  for (const [what, args, code, stderr] of failures) {
    test(`says in a line what is wrong with ${what}`, async () => {
      const result = await tulle(args);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, stderr);
      assert.doesNotMatch(result.stderr, /\n\s+at /);
    });
  }

  test('injects standard input, with the report on standard error', async () => {
    const manifest = 'kind: Pod\nmetadata: { name: web }\nspec: { containers: [{ name: app }] }\n';
    const { code, stdout, stderr } = await tulle(['inject', '-'], manifest);
    assert.equal(code, 0);
    assert.match(stdout, /linkerd\.io\/inject: enabled/);
    assert.equal(stderr, '\npod "web" injected\n\n');
  });

  test('injects what a URL answers', async () => {
    const server = createServer((_, response) => response.end('kind: Namespace\nmetadata: { name: shop }\n'));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { stdout } = await tulle([
      'inject',
      '-o',
      'json',
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    ]);
    server.close();
    assert.equal(JSON.parse(stdout).metadata.annotations['linkerd.io/inject'], 'enabled');
  });

  test('prints a control plane as one JSON list', async () => {
    const { stdout } = await tulle(['install', '--ignore-cluster', '-o', 'json', '-L', 'mesh']);
    const { kind, items } = JSON.parse(stdout);
    assert.equal(kind, 'List');
    assert.ok(
      items.every(({ metadata }: { metadata: { namespace?: string } }) => (metadata.namespace ?? 'mesh') === 'mesh'),
    );
  });

  test('says its version without a cluster', async () => {
    assert.match((await tulle(['version', '--client'])).stdout, /^Client version: \d+\.\d+\.\d+\n$/);
    assert.match((await tulle(['version', '--client', '--short'])).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('completes every command', async () => {
    const { stdout } = await tulle(['completion', 'bash']);
    for (const command of ['cluster up', 'diagnostics endpoints', 'stat'])
      assert.ok(stdout.includes(`"${command}")`), command);
  });
});
