/** The load of the failure tests, 200 requests/s of HTTP/1.1 and of unary gRPC each for at least a minute, around an event. */
import type { LoadReport } from '../app/load.ts';
import { agentOf, type TestCluster } from './cluster.ts';
import { PORTS } from './peers.ts';

export const LOAD_SECONDS = 60;

export interface LoadReports {
  http: LoadReport;
  grpc: LoadReport;
}

/** Runs the load from `agent` to `server`; `event` starts when it runs. Prints what was sent, answered and failed. */
export async function underLoad(
  cluster: TestCluster,
  way: { namespace: string; agent: string; server: string; seconds?: number },
  event: () => Promise<void>,
): Promise<LoadReports> {
  const { namespace, agent: name, server, seconds = LOAD_SECONDS } = way;
  const agent = await agentOf(cluster, namespace, name);
  const load = agent.load({
    httpUrl: `http://${server}:${PORTS.http}/`,
    grpcOrigin: `http://${server}:${PORTS.grpc}`,
    seconds,
  });
  const [reports] = await Promise.all([load, event()]);
  for (const [protocol, report] of Object.entries(reports)) {
    const { sent, ok, failed, latencyMs, reasons, pods } = report as LoadReport;
    process.stdout.write(
      `${protocol}: sent ${sent} ok ${ok} failed ${failed} p50 ${latencyMs.p50} p99 ${latencyMs.p99} max ${latencyMs.max} ms\n`,
    );
    process.stdout.write(
      `  by pod ${JSON.stringify(pods)}${failed > 0 ? ` reasons ${JSON.stringify(reasons)}` : ''}\n`,
    );
  }
  return reports as LoadReports;
}
