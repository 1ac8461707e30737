/**
 * `npm run bench -- --policies`: instructions that judging one request takes, with few and with many routes and
 * authorizations that do not fit it. Counted by callgrind where valgrind is, else by the processor where perf may read it.
 *
 * The program is run for N and for 2 N requests: the difference leaves out what it takes to start and to read the policy.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const CASES = ['inbound-routes', 'inbound-authorizations', 'outbound-routes'];
const SIZES = [1, 1000];
/** Enough that what is not the same in every run, such as where memory lies, does not show. */
const REQUESTS = 2000;

export interface PolicyCost {
  case: string;
  /** Instructions per request, by how many routes or authorizations there are. */
  instructions: Record<number, number>;
}

/** How instructions are counted here: the arguments before the program, and where the number stands in what is said. */
interface Counter {
  name: string;
  command: string[];
  parse: (stderr: string) => string | undefined;
}

const COUNTERS: Counter[] = [
  {
    name: 'callgrind',
    command: ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null'],
    parse: (stderr) => /Collected : (\d+)/.exec(stderr)?.[1],
  },
  {
    name: 'perf',
    command: ['perf', 'stat', '-x,', '-e', 'instructions:u'],
    parse: (stderr) => /^(\d+),,instructions:u/m.exec(stderr)?.[1],
  },
];

/** The costs, or why they cannot be counted on this machine. */
export async function countPolicies(
  program: string,
): Promise<{ by: string; costs: PolicyCost[] } | { skipped: string }> {
  const reasons: string[] = [];
  for (const counter of COUNTERS) {
    try {
      const costs: PolicyCost[] = [];
      for (const name of CASES) costs.push({ case: name, instructions: await countCase(counter, program, name) });
      return { by: counter.name, costs };
    } catch (error) {
      reasons.push(`${counter.name}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  return { skipped: reasons.join('; ') };
}

async function countCase(counter: Counter, program: string, name: string): Promise<Record<number, number>> {
  const instructions: Record<number, number> = {};
  for (const size of SIZES) {
    const once = await count(counter, [program, name, `${size}`, `${REQUESTS}`]);
    const twice = await count(counter, [program, name, `${size}`, `${2 * REQUESTS}`]);
    instructions[size] = Math.round((twice - once) / REQUESTS);
  }
  return instructions;
}

async function count({ command: [counter = '', ...args], parse }: Counter, program: string[]): Promise<number> {
  const { stderr } = await run(counter, [...args, ...program]);
  const number = parse(stderr);
  if (number === undefined) throw new Error(`${counter} says no number: ${stderr.trim().split('\n').at(-1)}`);
  return Number(number);
}

export function renderPolicies(by: string, costs: PolicyCost[]): string {
  const row = (cells: string[]) =>
    `${cells[0]?.padEnd(24)}${cells
      .slice(1)
      .map((cell) => cell.padStart(12))
      .join('')}\n`;
  const rows = costs.map((cost) => row([cost.case, ...SIZES.map((size) => `${cost.instructions[size]}`)]));
  return `instructions per request, counted by ${by}\n${row(['', ...SIZES.map((size) => `of ${size}`)])}${rows.join('')}`;
}
