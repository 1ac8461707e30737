/**
 * The way in for every `npm run`: sets up what a fresh machine lacks, builds, and runs the command on Node 24.
 * Runs on Node 20 with nothing installed, so it is one chain of .mjs files without dependencies.
 *
 *   bootstrap.mjs build | demo [args] | test [args] | bench [args] | tulle [args]
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { watchAncestors } from './ancestors.mjs';
import { build } from './build.mjs';
import { Progress } from './progress.mjs';
import { node24, requireHost, requirePackages, requireRustComponents, root } from './setup.mjs';

const [command = '', ...args] = process.argv.slice(2);

const isBuilt = existsSync(join(root, 'dist/tulle.js'));

const commands = {
  build: { packages: [], build: 'release', run: undefined },
  demo: { packages: ['run'], build: 'release', run: ['dist/demo.js'] },
  test: { packages: ['run', 'test'], build: 'release', run: ['scripts/test.ts'] },
  bench: { packages: ['run'], build: 'bench', run: ['bench/src/main.ts'] },
  // What was built last, at once: a command line that compiles first is no command line.
  tulle: { packages: ['run'], build: isBuilt ? undefined : 'release', run: ['dist/tulle.js'] },
};

const chosen = commands[command];
if (!chosen) {
  process.stderr.write(`bootstrap ${JSON.stringify(command)}: not one of ${Object.keys(commands).join(', ')}\n`);
  process.exit(64);
}

watchAncestors(() => process.exit(1));
const progress = new Progress(process.stderr, { isQuiet: command === 'tulle' });
try {
  await requireHost(progress, chosen.packages);
  await requirePackages(progress);
  if (command === 'test') await requireRustComponents(progress);
  if (chosen.build) await build(progress, chosen.build);
} catch (error) {
  progress.fail();
  process.stderr.write(`\n${error.message}\n`);
  process.exit(error.exitCode ?? 1);
}
progress.end();
if (chosen.run) runOnNode24([...chosen.run, ...args]);

/** The command's exit is ours; it dies with us, however we end. Ctrl-C reaches it directly, a SIGTERM is passed on. */
function runOnNode24(argv) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', node24(), ...argv], {
    stdio: 'inherit',
    env: { ...process.env, TULLE_NODE: node24() },
  });
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`run ${argv[0]}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(signal ? 128 : (code ?? 1)));
}
