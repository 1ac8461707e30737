/**
 * The load of the failure tests: HTTP/1.1 requests over 8 kept connections and unary gRPC over one, each at its own rate, open loop
 * (a slow answer does not delay the next request), without retries. Answers what was sent, what succeeded, and why the rest did not.
 */
import http from 'node:http';
import { ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Echo } from '../gen/echo_pb.ts';

const HTTP_CONNECTIONS = 8;
/** A request without an answer for this long has failed. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Different reasons kept; more than that say nothing new. */
const REASONS_MAX = 20;

interface LoadArgs {
  httpUrl?: string;
  grpcOrigin?: string;
  httpRps?: number;
  grpcRps?: number;
  seconds: number;
}

export interface LoadReport {
  sent: number;
  ok: number;
  failed: number;
  reasons: Record<string, number>;
  /** Answers by the pod that gave them. */
  pods: Record<string, number>;
  latencyMs: { p50: number; p99: number; max: number };
}

class Tally {
  sent = 0;
  ok = 0;
  readonly reasons: Record<string, number> = {};
  readonly pods: Record<string, number> = {};
  readonly latencies: number[] = [];

  async count(request: () => Promise<string>): Promise<void> {
    this.sent += 1;
    const startedAt = performance.now();
    try {
      const pod = await request();
      this.ok += 1;
      this.pods[pod] = (this.pods[pod] ?? 0) + 1;
    } catch (error) {
      const reason = `${new Date().toISOString().slice(11, 19)} ${error instanceof Error ? error.message : error}`;
      if (reason in this.reasons || Object.keys(this.reasons).length < REASONS_MAX)
        this.reasons[reason] = (this.reasons[reason] ?? 0) + 1;
    }
    this.latencies.push(performance.now() - startedAt);
  }

  report(): LoadReport {
    const sorted = this.latencies.sort((a, b) => a - b);
    const at = (q: number) =>
      Math.round((sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0) * 100) / 100;
    const { sent, ok, reasons, pods } = this;
    return { sent, ok, failed: sent - ok, reasons, pods, latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) } };
  }
}

export async function runLoad({ httpUrl, grpcOrigin, httpRps = 200, grpcRps = 200, seconds }: LoadArgs) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: HTTP_CONNECTIONS, maxFreeSockets: HTTP_CONNECTIONS });
  const results: { http?: LoadReport; grpc?: LoadReport } = {};
  const running: Promise<void>[] = [];
  if (httpUrl) {
    const tally = new Tally();
    running.push(
      openLoop(httpRps, seconds, () => tally.count(() => httpRequest(agent, httpUrl))).then(() => {
        results.http = tally.report();
      }),
    );
  }
  if (grpcOrigin) {
    const tally = new Tally();
    const client = createClient(
      Echo,
      createGrpcTransport({ baseUrl: grpcOrigin, defaultTimeoutMs: REQUEST_TIMEOUT_MS }),
    );
    const request = async () => {
      try {
        return (await client.unary({ text: 'load' })).pod;
      } catch (error) {
        const { code, rawMessage } = ConnectError.from(error);
        throw new Error(`grpc ${code}: ${rawMessage}`);
      }
    };
    running.push(
      openLoop(grpcRps, seconds, () => tally.count(request)).then(() => {
        results.grpc = tally.report();
      }),
    );
  }
  await Promise.all(running);
  agent.destroy();
  return results;
}

/** Starts requests at the rate, whatever became of those before; ends when the last has ended. */
function openLoop(rps: number, seconds: number, request: () => Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const total = Math.round(rps * seconds);
    const open: Promise<void>[] = [];
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * rps));
      while (open.length < due) open.push(request());
      if (open.length < total) return;
      clearInterval(timer);
      resolve(Promise.all(open).then(() => {}));
    }, 5);
  });
}

function httpRequest(agent: http.Agent, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, timeout: REQUEST_TIMEOUT_MS }, (response) => {
      response.resume();
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(String(response.headers['x-pod'] ?? ''));
        else reject(new Error(`status ${response.statusCode} ${response.headers['l5d-proxy-error'] ?? ''}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error('timed out')));
    request.on('error', reject);
  });
}
