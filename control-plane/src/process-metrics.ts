/** What the process itself uses, in the names of Prometheus' client libraries. */
import { readdirSync } from 'node:fs';
import { cpuUsage, memoryUsage } from 'node:process';
import type { MetricRegistry } from './metric-registry.ts';

export function registerProcessMetrics(metrics: MetricRegistry): void {
  const cpu = metrics.counter('process_cpu_seconds_total', 'User and system CPU time spent');
  const resident = metrics.gauge('process_resident_memory_bytes', 'Resident memory');
  const heap = metrics.gauge('process_heap_bytes', 'JavaScript heap in use');
  const openFiles = metrics.gauge('process_open_fds', 'Open file descriptors');
  const started = metrics.gauge('process_start_time_seconds', 'Start time since the Unix epoch');
  started.set(performance.timeOrigin / 1000);
  metrics.collect(() => {
    const { user, system } = cpuUsage();
    cpu.set((user + system) / 1e6);
    const { rss, heapUsed } = memoryUsage();
    resident.set(rss);
    heap.set(heapUsed);
    openFiles.set(countOpenFiles());
  });
}

function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    // No /proc on this system: the figure is not known, and nothing depends on it.
    return 0;
  }
}
