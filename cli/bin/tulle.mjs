#!/usr/bin/env node
/** The package's program: runs the bundle that the build makes, or the sources where there is none, on Node 24. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR_MIN = 24;
const near = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const program = [near('dist/tulle.js'), near('cli/src/main.ts')].find(existsSync);

if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) {
  process.argv[1] = program;
  await import(program);
} else {
  const child = spawn(near('node_modules/node/bin/node'), [program, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`tulle: start Node ${NODE_MAJOR_MIN}: ${error.message}; run npm run build first\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(signal ? 128 : (code ?? 1)));
}
