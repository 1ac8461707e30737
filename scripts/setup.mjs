/** What a machine must have before anything is built: Linux, cargo, Debian packages, npm packages, Node 24. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MAJOR_MIN = 24;
/** Of `rust-version` in Cargo.toml; the crate linkerd2-proxy-api asks for it. */
const RUST_MINOR_MIN = 90;
/** EX_CONFIG of sysexits.h: the machine lacks something. */
const EXIT_CONFIG = 78;

/** Commands that each purpose needs, and the Debian package that has each. */
const tools = {
  run: [
    ['ip', 'iproute2'],
    ['nft', 'nftables'],
    ['unshare', 'util-linux'],
    ['nsenter', 'util-linux'],
    ['setpriv', 'util-linux'],
    ['mount', 'mount'],
  ],
  test: [
    ['tcpdump', 'tcpdump'],
    ['unzip', 'unzip'],
  ],
};

/** /usr/sbin is not on an ordinary user's PATH, but that is where ip and nft are. */
process.env.PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].join(delimiter);

/** Stops with one clear error where the machine cannot do it; as root installs the Debian packages that are missing. */
export async function requireHost(progress, purposes) {
  if (process.platform !== 'linux') stop(`Tulle runs on Linux; this is ${process.platform}`);
  if (Number(process.versions.node.split('.')[0]) < 20)
    stop(`Tulle needs Node 20 or later; this is ${process.version}`);
  if (!hasCommand('cargo')) stop('Tulle needs Rust: cargo is not on the PATH (https://rustup.rs)');
  const rust = /(\d+)\.(\d+)/.exec(spawnSync('cargo', ['--version'], { encoding: 'utf8' }).stdout ?? '');
  if (Number(rust?.[1]) === 1 && Number(rust?.[2]) < RUST_MINOR_MIN) {
    stop(`Tulle needs Rust 1.${RUST_MINOR_MIN} or later; cargo says ${rust[0]} (rustup update stable)`);
  }
  if (!hasCommand('cc'))
    stop('Tulle needs a C compiler for the proxy: cc is not on the PATH (apt-get install gcc libc6-dev)');
  const missing = purposes.flatMap((purpose) => tools[purpose]).filter(([command]) => !hasCommand(command));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  const line = `apt-get install -y ${packages.join(' ')}`;
  if (process.getuid() !== 0)
    stop(`missing: ${missing.map(([command]) => command).join(', ')}. Run this once: sudo ${line}`);
  if (!hasCommand('apt-get'))
    stop(`missing: ${missing.map(([command]) => command).join(', ')}. Install ${packages.join(', ')}`);
  const aptGet = (...args) =>
    runProgram('apt-get', args, { env: { DEBIAN_FRONTEND: 'noninteractive' } }).catch((error) =>
      stop(`${error.message}\ninstall Debian packages: this is what failed; by hand it is: ${line}`),
    );
  await progress.step(`Debian packages ${packages.join(', ')}`, async () => {
    await aptGet('update', '-qq');
    await aptGet('install', '-y', '-qq', '--no-install-recommends', ...packages);
  });
}

/** rustfmt and clippy, which a minimal toolchain lacks; without rustup they have to be there already. */
export async function requireRustComponents(progress) {
  const isThere = ['fmt', 'clippy'].every((name) => spawnSync('cargo', [name, '--version']).status === 0);
  if (isThere) return;
  if (!hasCommand('rustup')) stop('the tests need cargo fmt and cargo clippy, and there is no rustup to add them with');
  await progress.step('rustfmt and clippy', () => run('rustup', ['component', 'add', 'rustfmt', 'clippy']));
}

/** npm packages as package-lock.json has them; nothing is done when they are there already. */
export async function requirePackages(progress) {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(root, 'node_modules/.tulle-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  await progress.step('npm packages', () => run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']));
  writeFileSync(stamp, lock);
}

/** This Node when it is new enough, else the one of the npm package `node`. */
export function node24() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return process.execPath;
  const own = join(root, 'node_modules/node/bin/node');
  if (!existsSync(own))
    stop(
      `find Node ${NODE_MAJOR_MIN}: ${own} is missing; run npm ci, with install scripts allowed for the package node`,
    );
  return own;
}

/** Runs a command of the set-up as `runProgram` does; it ends with this process, so that a killed set-up leaves no compiler behind. */
export function run(command, args, options) {
  return runProgram('setpriv', ['--pdeathsig', 'KILL', command, ...args], options);
}

/** Runs a program quietly; what it wrote is shown only when it fails. `onLine` gets each line of it. */
function runProgram(command, args, { onLine, env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let output = '';
    const take = (chunk) => {
      output += chunk;
      const last = String(chunk).trim().split('\n').at(-1);
      if (last) onLine?.(last.trim());
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', (error) => reject(new Error(`${command} ${args.join(' ')}: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${output}\n${command} ${args.join(' ')}: ended with ${signal ?? `exit code ${code}`}`));
    });
  });
}

function hasCommand(name) {
  return process.env.PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function stop(message) {
  throw Object.assign(new Error(message), { exitCode: EXIT_CONFIG });
}
