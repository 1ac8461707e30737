/** What Prometheus' clients say of their process: `process_*` families, read from /proc and from Node when they are asked for. */
import { readdirSync } from 'node:fs';
import type { MetricRegistry } from './metric-registry.ts';

export function registerProcessMetrics(metrics: MetricRegistry): void {
  const startedAtS = Date.now() / 1000 - process.uptime();
  metrics.gauge('process_start_time_seconds', 'Start of the process since the Unix epoch').set(startedAtS);
  const resident = metrics.gauge('process_resident_memory_bytes', 'Resident memory');
  const cpu = metrics.counter('process_cpu_seconds_total', 'CPU time, user and system');
  const files = metrics.gauge('process_open_fds', 'Open file descriptors');
  let countedCpuS = 0;
  metrics.collect(() => {
    resident.set(process.memoryUsage.rss());
    const { user, system } = process.cpuUsage();
    const cpuS = (user + system) / 1e6;
    cpu.add({}, cpuS - countedCpuS);
    countedCpuS = cpuS;
    files.set(readdirSync('/proc/self/fd').length);
  });
}
