/**
 * `npm run bench`: what a pair of proxies costs, beside the direct path and the floor, in two pods with the real redirect.
 *
 *   --proxy PATH or NAME=PATH  another proxy with the same environment contract (repeatable)
 *   --without-own              leaves ours out
 *   --only NAME                measures this one alone (direct, floor or a proxy), to look at it with other tools
 *   --rounds N  --seconds S  --paced-seconds S  --case TEXT (only cases whose name has it)  --starts N
 *   --policies                 counts instructions of policies instead, see policies.ts
 *   -o json|table
 *
 * With `--scale` it measures the control plane instead: see scale.ts.
 */
import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Authority } from './authority.ts';
import { type Contender, startDirect, startFloor, startProxy } from './contender.ts';
import { enterNamespaces } from './isolation.ts';
import { setUpNode } from './pod.ts';
import { countPolicies, renderPolicies } from './policies.ts';
import { figure, type Report, renderTables, summarize } from './report.ts';
import { CASES, caseName, runRounds } from './rounds.ts';

const release = join(import.meta.dirname, '../../target/release');

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      proxy: { type: 'string', multiple: true, default: [] },
      only: { type: 'string' },
      'without-own': { type: 'boolean', default: false },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '1' },
      'paced-seconds': { type: 'string', default: '4' },
      case: { type: 'string', default: '' },
      starts: { type: 'string', default: '5' },
      output: { type: 'string', short: 'o', default: 'table' },
    },
  });
  const number = (name: 'rounds' | 'seconds' | 'paced-seconds' | 'starts', min: number) => {
    const value = Number(values[name]);
    if (!(value >= min)) throw new Error(`--${name}: ${JSON.stringify(values[name])} is not a number from ${min} on`);
    return value;
  };
  const [rounds, seconds, pacedSeconds, starts] = [
    number('rounds', 1),
    number('seconds', 0.1),
    number('paced-seconds', 0),
    number('starts', 1),
  ];
  if (!['json', 'table'].includes(values.output)) throw new Error(`-o: ${values.output} is neither json nor table`);
  const cases = CASES.filter((item) => caseName(item).toLowerCase().includes(values.case.toLowerCase()));
  const programs = {
    proxy: join(release, 'tulle-proxy'),
    floor: join(release, 'tulle-floor'),
    load: join(release, 'tulle-load'),
  };
  const own = values['without-own'] ? [] : [`tulle=${programs.proxy}`];
  const proxies = [...own, ...values.proxy].map((text) => {
    const at = text.indexOf('=');
    return at < 0 ? { name: basename(text), path: text } : { name: text.slice(0, at), path: text.slice(at + 1) };
  });

  setUpNode();
  const setting = { programs, authority: await Authority.create(), nextPod: 1 };
  const contenders: Contender[] = [await startDirect(setting), await startFloor(setting)];
  for (const { name, path } of proxies) contenders.push(await startProxy(setting, name, path, starts));
  const idle = contenders.map((contender) => contender.rssBytes());
  const onProgress = (text: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`);
  const measured = contenders.filter((contender) => (values.only ?? contender.name) === contender.name);
  if (measured.length === 0) throw new Error(`--only: no path is called ${JSON.stringify(values.only)}`);
  const samples = await runRounds(measured, programs, { rounds, seconds, pacedSeconds, cases, onProgress });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const report: Report = {
    rounds,
    seconds,
    contenders: contenders.map((contender, at) => ({
      name: contender.name,
      ...(contender.kind === 'proxy' && {
        binaryBytes: statSync(proxies[at - 2]?.path ?? '').size,
        startToReadyMs: figure(contender.startToReadyMs),
      }),
      idleRssBytes: idle[at],
      endRssBytes: contender.rssBytes(),
    })),
    cases: summarize(samples, measured),
  };
  process.stdout.write(values.output === 'json' ? `${JSON.stringify(report, null, 2)}\n` : renderTables(report));
}

async function policies(): Promise<void> {
  const counted = await countPolicies(join(release, 'tulle-policy'));
  const isJson = process.argv.includes('json');
  if (isJson) process.stdout.write(`${JSON.stringify(counted, null, 2)}\n`);
  else if ('skipped' in counted)
    process.stdout.write(`skipped: no instructions can be counted here: ${counted.skipped}\n`);
  else process.stdout.write(renderPolicies(counted.by, counted.costs));
}

try {
  // It needs no network, and so no namespaces.
  if (process.argv.includes('--policies')) {
    await policies();
    process.exit();
  }
  if (process.argv.includes('--scale')) await import('./scale.ts');
  else if (await enterNamespaces()) {
    await main();
    // All that was started ends with this process, which is the first in its namespaces.
    process.exit();
  }
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
}
