/** Builds what runs: TypeScript from protos, the static proxy, one bundle per program, and the table of images. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { node24, root, run } from './setup.mjs';

/** Entry of each program and the bundle made of it. */
const bundles = {
  'control-plane': 'control-plane/src/main.ts',
  tulle: 'cli/src/main.ts',
  cluster: 'cluster/src/main.ts',
  'demo-app': 'demo/src/app/main.ts',
  demo: 'demo/src/main.ts',
  'test-app': 'test/app/main.ts',
};

export async function build(progress, profile) {
  await progress.step('TypeScript from protos', () => run(node24(), ['scripts/generate.mjs']));
  await progress.step('proxy and pod runtime (release)', (detail) => cargo(detail, profile));
  await progress.step('bundles', bundle);
  writeImages();
}

/** The linker flag goes to the binaries alone: in RUSTFLAGS it would break procedural macros. */
async function cargo(detail, profile) {
  const binaries = [
    ['tulle-proxy', 'tulle-proxy'],
    ['tulle-pod', 'tulle-pod'],
  ];
  for (const [name, bin] of binaries) {
    await run(
      'cargo',
      ['rustc', '--locked', '--release', '-p', name, '--bin', bin, '--', '-C', 'target-feature=+crt-static'],
      {
        onLine: detail,
      },
    );
  }
  if (profile === 'bench')
    await run('cargo', ['build', '--locked', '--release', '-p', 'tulle-bench'], { onLine: detail });
}

async function bundle() {
  const { build: esbuild, stop } = await import('esbuild');
  mkdirSync(join(root, 'dist'), { recursive: true });
  const { version } = JSON.parse(readFileSync(join(root, 'cli/package.json'), 'utf8'));
  await esbuild({
    absWorkingDir: root,
    entryPoints: Object.entries(bundles).map(([out, path]) => ({ in: join(root, path), out })),
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    sourcemap: 'linked',
    logLevel: 'warning',
    define: {
      'process.env.TULLE_VERSION': JSON.stringify(version),
      'process.env.TULLE_CRDS': JSON.stringify(JSON.stringify(definitionTexts())),
    },
    // Dependencies written as CommonJS call require(), which an ES module does not have.
    banner: {
      js: "import { createRequire as tulleCreateRequire } from 'node:module'; const require = tulleCreateRequire(import.meta.url);",
    },
  });
  await stop();
}

/** What `tulle install --crds` prints, by file name (read by cli/src/install/crds.ts). */
function definitionTexts() {
  const folder = join(root, 'api/crds');
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

/** Which programs of this machine an image of the one-machine cluster stands for (read by cluster/src/kubelet). */
function writeImages() {
  const proxy = join(root, 'target/release/tulle-proxy');
  const folder = '/usr/lib/linkerd';
  const node = (file) => ({
    binds: [
      { from: node24(), to: '/usr/bin/node' },
      { from: join(root, 'dist', file), to: `/app/${file}` },
    ],
    entrypoint: ['/usr/bin/node', `/app/${file}`],
  });
  const images = {
    'tulle/proxy': {
      binds: ['linkerd2-proxy', 'linkerd2-proxy-init', 'linkerd-await'].map((name) => ({
        from: proxy,
        to: `${folder}/${name}`,
      })),
      entrypoint: [`${folder}/linkerd2-proxy`],
      user: 2102,
    },
    'tulle/control-plane': node('control-plane.js'),
    'tulle/demo': node('demo-app.js'),
    'tulle/test': node('test-app.js'),
    debian: { binds: [], entrypoint: ['/bin/sh'] },
    busybox: { binds: [], entrypoint: ['/bin/sh'] },
  };
  const file = join(root, 'dist/images.json');
  const text = `${JSON.stringify(images, null, 2)}\n`;
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}
