/**
 * Generates TypeScript into api/gen from the protos that the crate linkerd2-proxy-api ships
 * (found by `cargo metadata`, so Cargo.lock pins them) and from our own in api/proto.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'api/gen');
const stampFile = join(out, '.stamp');

const metadata = JSON.parse(
  execFileSync('cargo', ['metadata', '--format-version', '1', '--locked'], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  }),
);
const crate = metadata.packages.find((p) => p.name === 'linkerd2-proxy-api');
if (!crate) throw new Error('generate api/gen: crate linkerd2-proxy-api is not in Cargo.lock');
const own = join(root, 'api/proto');
const ownTexts = existsSync(own)
  ? readdirSync(own, { recursive: true })
      .filter((f) => f.endsWith('.proto'))
      .map((f) => readFileSync(join(own, f), 'utf8'))
  : [];
const stamp = JSON.stringify([crate.version, readFileSync(join(root, 'package.json'), 'utf8'), ownTexts]);
const isFresh = existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp && !process.argv.includes('--force');

if (!isFresh) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const template = JSON.stringify({
    version: 'v2',
    plugins: [
      {
        local: join(root, 'node_modules/.bin/protoc-gen-es'),
        out,
        opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'],
      },
    ],
  });
  for (const input of [join(dirname(crate.manifest_path), 'proto'), own]) {
    if (!existsSync(input) || !readdirSync(input, { recursive: true }).some((f) => f.endsWith('.proto'))) continue;
    execFileSync(join(root, 'node_modules/.bin/buf'), ['generate', input, '--template', template], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }
  writeFileSync(stampFile, stamp);
}
