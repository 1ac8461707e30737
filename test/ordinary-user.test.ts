/** The demo as somebody who is not root: in a user namespace with one uid, where the redirect knows the proxy by its packet mark. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { root } from './support/cluster.ts';

const NOBODY = 65534;
const TIMEOUT_MS = 120_000;
const skip = process.env.TEST_KUBECONFIG
  ? 'the demo has a cluster of its own'
  : process.getuid?.() !== 0
    ? 'becomes another user, which only root can; every other test runs as you'
    : false;

const folder = mkdtempSync(join(tmpdir(), 'tulle-user-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What the build made, where any user can read it: the checkout may be in a folder that only root can enter. */
function copyInstallation(): string {
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'dist'));
  mkdirSync(join(folder, 'target/release'), { recursive: true });
  for (const name of ['tulle-proxy', 'tulle-pod']) {
    copyFileSync(join(root, 'target/release', name), join(folder, 'target/release', name));
  }
  for (const name of readdirSync(join(root, 'dist')))
    copyFileSync(join(root, 'dist', name), join(folder, 'dist', name));
  const node = join(folder, 'node');
  copyFileSync(process.execPath, node);
  const images = readFileSync(join(root, 'dist/images.json'), 'utf8');
  const moved = images.replaceAll(process.execPath, node).replaceAll(`"${root}/`, `"${folder}/`);
  writeFileSync(join(folder, 'dist/images.json'), moved);
  return node;
}

test('has four mutual edges', { skip }, async () => {
  const node = copyInstallation();
  const stateDir = join(folder, 'state');
  mkdirSync(stateDir);
  chownSync(stateDir, NOBODY, NOBODY);
  const user = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'];
  const demo = [node, join(folder, 'dist/demo.js'), '--for', '5s', '-o', 'json', '--state-dir', join(stateDir, 'demo')];
  const { stdout } = await promisify(execFile)('setpriv', [...user, ...demo], {
    cwd: folder,
    timeout: TIMEOUT_MS,
    env: { PATH: process.env.PATH, HOME: stateDir },
  });
  const document = JSON.parse(stdout);
  assert.deepEqual(
    document.edges.map((edge: { tls: string }) => edge.tls),
    ['mutual', 'mutual', 'mutual', 'mutual'],
  );
});
