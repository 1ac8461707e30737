/** Runs every case for every contender, round after round, so that what disturbs the machine disturbs all alike. */
import { type Contender, ECHO_PORT, type Programs, SERVER_PORT } from './contender.ts';

export const CASES = [
  { name: 'HTTP/1.1', kind: 'http1', port: SERVER_PORT, concurrency: 1 },
  { name: 'HTTP/1.1', kind: 'http1', port: SERVER_PORT, concurrency: 32 },
  { name: 'HTTP/2', kind: 'http2', port: SERVER_PORT + 1, concurrency: 1 },
  { name: 'HTTP/2', kind: 'http2', port: SERVER_PORT + 1, concurrency: 32 },
  { name: 'gRPC', kind: 'grpc', port: SERVER_PORT + 1, concurrency: 1 },
  { name: 'gRPC', kind: 'grpc', port: SERVER_PORT + 1, concurrency: 32 },
  { name: 'echo', kind: 'echo', port: ECHO_PORT, concurrency: 1 },
  { name: 'echo', kind: 'echo', port: ECHO_PORT, concurrency: 32 },
] as const;

/** The paced case: few enough requests that latency is that of the path, not of a queue. */
export const PACED = { connections: 8, perSecond: 500 } as const;

export interface Case {
  name: string;
  kind: string;
  port: number;
  concurrency: number;
}

export interface Sample {
  contender: string;
  case: string;
  round: number;
  requests: number;
  perSecond: number;
  latencyUs: { p50: number; p90: number; p99: number };
  /** CPU time per request. */
  clientUs: number;
  serverUs: number;
}

export interface RoundOptions {
  rounds: number;
  seconds: number;
  pacedSeconds: number;
  cases: readonly Case[];
  onProgress(text: string): void;
}

/** @throws when a request fails: figures of failures compare nothing. */
export async function runRounds(contenders: Contender[], programs: Programs, options: RoundOptions): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const item of options.cases) {
      for (const contender of contenders) {
        options.onProgress(`round ${round}/${options.rounds}: ${caseName(item)} ${contender.name}`);
        const addr = `${contender.server.ip}:${item.port}`;
        const argv = [programs.load, 'run', item.kind, addr, String(item.concurrency), String(options.seconds)];
        samples.push(await measure(contender, argv, caseName(item), round));
      }
    }
    for (const contender of options.pacedSeconds > 0 ? contenders : []) {
      options.onProgress(`round ${round}/${options.rounds}: paced ${contender.name}`);
      const addr = `${contender.server.ip}:${SERVER_PORT}`;
      const { connections, perSecond } = PACED;
      const argv = [programs.load, 'pace', addr, String(connections), String(perSecond), String(options.pacedSeconds)];
      samples.push(await measure(contender, argv, 'paced', round));
    }
  }
  return samples;
}

export function caseName({ name, concurrency }: Case): string {
  return `${name} c=${concurrency}`;
}

/** Far longer than any run: a proxy that hangs fails the bench instead of hanging it. */
const HANG_MS = 60_000;

async function measure(contender: Contender, argv: string[], name: string, round: number): Promise<Sample> {
  const load = contender.client.start(argv);
  const nextLine = () => within(HANG_MS, load.nextLine(), `${contender.name}, ${name}`);
  await nextLine();
  const before = contender.cpuUs();
  load.process.stdin.write('go\n');
  const result = JSON.parse(await nextLine());
  const after = contender.cpuUs();
  load.process.stdin.end();
  if (result.errors > 0 || result.requests === 0)
    throw new Error(
      `${contender.name}, ${name}: ${result.errors} of ${result.requests} requests failed: ${result.firstError}`,
    );
  return {
    contender: contender.name,
    case: name,
    round,
    requests: result.requests,
    perSecond: result.requests / result.seconds,
    latencyUs: result.latencyUs,
    clientUs: (after.client - before.client) / result.requests,
    serverUs: (after.server - before.server) / result.requests,
  };
}

async function within<T>(limitMs: number, outcome: Promise<T>, what: string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what}: nothing for ${limitMs / 1000} s`)), limitMs);
  try {
    return await Promise.race([outcome, promise]);
  } finally {
    clearTimeout(timer);
  }
}
