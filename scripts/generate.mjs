/**
 * Generates TypeScript from protos: into api/gen those that the crate linkerd2-proxy-api ships (found by `cargo metadata`,
 * so Cargo.lock pins them) and our own of api/proto, into demo/gen those of the sample application. A stamp skips unchanged ones.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name) => join(root, 'node_modules/.bin', name);

/** Folder of the proto files of the crate linkerd2-proxy-api, which cargo has in its registry. */
function crateProtos() {
  const text = execFileSync(
    'cargo',
    ['metadata', '--format-version', '1', '--locked', '-q', '--filter-platform', hostTriple()],
    {
      cwd: root,
      maxBuffer: 64 * 1024 * 1024,
      encoding: 'utf8',
    },
  );
  const crate = JSON.parse(text).packages.find((p) => p.name === 'linkerd2-proxy-api');
  if (!crate) throw new Error('generate api/gen: crate linkerd2-proxy-api is not in Cargo.lock');
  return join(dirname(crate.manifest_path), 'proto');
}

function hostTriple() {
  const host = /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))?.[1];
  if (!host) throw new Error('generate api/gen: rustc -vV names no host');
  return host;
}

function protoFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((f) => f.endsWith('.proto'))
    .map((f) => join(folder, f));
}

function generate(inputs, out, inputStamp) {
  const stampFile = join(out, '.stamp');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === inputStamp) return;
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const opt = ['target=ts', 'import_extension=ts', 'erasable_syntax=true'];
  const template = JSON.stringify({ version: 'v2', plugins: [{ local: bin('protoc-gen-es'), out, opt }] });
  for (const input of inputs()) {
    if (protoFiles(input).length === 0) continue;
    execFileSync(bin('buf'), ['generate', input, '--template', template], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }
  writeFileSync(stampFile, inputStamp);
}

const texts = (folder) => protoFiles(folder).map((f) => readFileSync(f, 'utf8'));
const tools = readFileSync(join(root, 'package.json'), 'utf8');
const crateEntry = /name = "linkerd2-proxy-api"\nversion = "[^"]+"/.exec(
  readFileSync(join(root, 'Cargo.lock'), 'utf8'),
)?.[0];
const own = join(root, 'api/proto');
generate(() => [crateProtos(), own], join(root, 'api/gen'), JSON.stringify([tools, crateEntry, texts(own)]));
for (const name of ['demo', 'test']) {
  const folder = join(root, name, 'proto');
  generate(() => [folder], join(root, name, 'gen'), JSON.stringify([tools, texts(folder)]));
}
