/**
 * `npm test`: lint, types, units, cargo test, end to end, in that order, each counted. `npm test -- unit e2e` runs only those
 * stages; a path runs that one file of tests. As root a skipped test is a failure: everything a test needs can be installed.
 */
import { spawn } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, join } from 'node:path';

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

interface Stage {
  name: string;
  /** A stage that takes longer hangs, and is ended; the sum stays below what CI allows (90 minutes). */
  timeoutMinutes: number;
  command: string[];
  /** Each of these is a run of its own; one that fails gets a second run, said loudly: whole clusters share two cores with anything. */
  files?: string[];
  count: (output: string, isOk: boolean) => Count;
}

const node = process.execPath;
const bin = (name: string) => `node_modules/.bin/${name}`;
const packages = ['api', 'client', 'cluster', 'control-plane', 'cli', 'demo', 'scripts'];
const unitFiles = packages.flatMap((name) => globSync(`${name}/**/*.test.ts`, { exclude: ['**/node_modules/**'] }));
const e2eFiles = globSync('test/**/*.test.ts').sort();

/** Files that compare with something of another toolchain, which the set-up does not install for them: run where it is there. */
const comparing = new Map([['test/gateway-api.test.ts', 'go']]);

const nodeTest = ['--test', '--test-reporter=spec', '--test-timeout=600000'];

const stages: Stage[] = [
  {
    name: 'lint',
    timeoutMinutes: 5,
    command: [bin('biome'), 'ci', '--error-on-warnings', '--max-diagnostics=50'],
    count: countOne,
  },
  { name: 'rustfmt', timeoutMinutes: 5, command: ['cargo', 'fmt', '--all', '--check'], count: countOne },
  { name: 'types', timeoutMinutes: 10, command: [bin('tsc'), '--noEmit', '-p', 'tsconfig.json'], count: countOne },
  {
    name: 'unit',
    timeoutMinutes: 15,
    command: [node, ...nodeTest, `--test-concurrency=${cpus().length}`, ...unitFiles],
    count: countNodeTests,
  },
  {
    name: 'clippy',
    timeoutMinutes: 20,
    command: ['cargo', 'clippy', '--locked', '--workspace', '--all-targets', '--', '-D', 'warnings'],
    count: countOne,
  },
  { name: 'cargo', timeoutMinutes: 30, command: ['cargo', 'test', '--locked', '--workspace'], count: countCargoTests },
  {
    name: 'e2e',
    // Of one file: the longest has eight loads of a minute.
    timeoutMinutes: 12,
    command: [node, ...nodeTest, '--test-concurrency=1'],
    files: e2eFiles,
    count: countNodeTests,
  },
];

const wanted = process.argv.slice(2);
const files = wanted.filter((name) => existsSync(name));
const names = wanted.filter((name) => !existsSync(name));
const unknown = names.filter((name) => !stages.some((stage) => stage.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `test ${unknown.join(', ')}: stages are ${stages.map((s) => s.name).join(', ')}; anything else must be a file\n`,
  );
  process.exit(64);
}

const chosen: Stage[] =
  files.length > 0
    ? [
        {
          name: 'files',
          timeoutMinutes: 45,
          command: [node, ...nodeTest, '--test-concurrency=1', ...files],
          count: countNodeTests,
        },
      ]
    : stages.filter((stage) => names.length === 0 || names.includes(stage.name));

const total: Count = { passed: 0, failed: 0, skipped: 0 };
const rows: string[] = [];
const leftOut: string[] = [];
for (const stage of chosen) {
  process.stdout.write(`\n── ${stage.name} ──\n`);
  const startedAt = Date.now();
  const count: Count = { passed: 0, failed: 0, skipped: 0 };
  const again: string[] = [];
  for (const file of stage.files ?? [undefined]) {
    const program = comparing.get(file ?? '');
    if (program && !hasProgram(program)) {
      process.stdout.write(`${file} is left out: there is no ${program}\n`);
      leftOut.push(`${file} (no ${program})`);
      continue;
    }
    const ownStage = file === undefined ? stage : { ...stage, command: [...stage.command, file] };
    let own = await runAndCount(ownStage);
    if (own.failed > 0 && file !== undefined) {
      process.stdout.write(`\n${file} failed: it runs once more\n`);
      own = await runAndCount(ownStage);
      if (own.failed === 0) again.push(file);
    }
    add(count, own);
  }
  add(total, count);
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  const note = again.length > 0 ? `, passed only on the second run: ${again.join(' ')}` : '';
  rows.push(`${count.failed === 0 ? '✓' : '✗'} ${stage.name.padEnd(10)} ${countText(count)} (${seconds} s)${note}`);
}

process.stdout.write(`\n${rows.join('\n')}\n`);
if (leftOut.length > 0) process.stdout.write(`left out: ${leftOut.join(', ')}\n`);
const isSkipForbidden = process.getuid?.() === 0 && total.skipped > 0;
if (isSkipForbidden) process.stdout.write(`${total.skipped} skipped: as root every test must run\n`);
process.stdout.write(`${countText(total)}\n`);
process.exit(total.failed > 0 || isSkipForbidden || total.passed === 0 ? 1 : 0);

async function runAndCount(stage: Stage): Promise<Count> {
  const { output, code } = await run(stage);
  const count = stage.count(output, code === 0);
  // A runner that died before it counted has failed, whatever it printed.
  if (code !== 0 && count.failed === 0) count.failed = 1;
  return count;
}

function hasProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
}

function add(total: Count, count: Count): void {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
}

function run(stage: Stage): Promise<{ output: string; code: number }> {
  return new Promise((resolve) => {
    const [command = '', ...args] = stage.command;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, FORCE_COLOR: '0', CARGO_TERM_COLOR: 'never' },
    });
    let output = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk: string) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    const timer = setTimeout(() => {
      process.stdout.write(`stage ${stage.name}: not done after ${stage.timeoutMinutes} minutes, ended\n`);
      child.kill('SIGKILL');
    }, stage.timeoutMinutes * 60_000);
    child.on('error', (error) => process.stdout.write(`run ${command}: ${error.message}\n`));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ output, code: code ?? 1 });
    });
  });
}

function countOne(_output: string, isOk: boolean): Count {
  return { passed: isOk ? 1 : 0, failed: isOk ? 0 : 1, skipped: 0 };
}

function countNodeTests(output: string): Count {
  const last = (word: string) => Number([...output.matchAll(new RegExp(`^ℹ ${word} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
  return { passed: last('pass'), failed: last('fail') + last('cancelled'), skipped: last('skipped') + last('todo') };
}

function countCargoTests(output: string): Count {
  const sum = (word: string) =>
    [...output.matchAll(new RegExp(`(\\d+) ${word}`, 'g'))].reduce((n, m) => n + Number(m[1]), 0);
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('ignored') };
}

function countText({ passed, failed, skipped }: Count): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
