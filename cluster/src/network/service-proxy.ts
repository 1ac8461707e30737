/** Keeps the kernel's rules for Services in step with the API: watches → dirty Services → one nft transaction. */

import { ENDPOINT_SLICES, type EndpointSlice, MeshError, objectKey, SERVICES, type Service } from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { Logger } from 'pino';
import { baseRuleset } from './base-ruleset.ts';
import { EndpointSliceIndex } from './endpoint-slices.ts';
import { type NetworkLayout, runWithInput, usableAddresses } from './interfaces.ts';
import { addDifference, type Commands, type ElementUses, NO_RULES } from './ruleset-difference.ts';
import { type ServiceRules, serviceRules } from './service-rules.ts';

/** Changes that come together cost one transaction. */
const BATCH_MS = 10;
/** Each transaction is a process; in a rollout they come this far apart, which clients still do not notice. */
const SPACING_MS = 75;
const RETRY_MS = 1000;

/** Resolves when the first rules are in place. Goes on until the signal is aborted; dispose waits for its end. */
export async function startServiceProxy(
  client: Client,
  layout: NetworkLayout,
  signal: AbortSignal,
  logger: Logger,
): Promise<AsyncDisposable> {
  const services = startReflector<Service>(client, SERVICES, {}, signal);
  const slices = startReflector<EndpointSlice>(client, ENDPOINT_SLICES, {}, signal);
  const slicesOf = new EndpointSliceIndex();
  const dirty = new Set<string>();
  let applied = new Map<string, ServiceRules>();
  let uses: ElementUses = new Map();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let lastRunMs = 0;

  services.subscribe(({ object }) => mark(objectKey(object)));
  slices.subscribe(({ type, object }) => {
    mark(slicesOf.apply(type, object));
  });
  signal.addEventListener('abort', () => clearTimeout(timer));

  function mark(key: string): void {
    dirty.add(key);
    schedule(Math.max(BATCH_MS, lastRunMs + SPACING_MS - performance.now()));
  }

  function schedule(ms: number): void {
    if (timer || running || signal.aborted) return;
    timer = setTimeout(() => {
      timer = undefined;
      lastRunMs = performance.now();
      running = program().finally(() => {
        running = undefined;
        if (dirty.size > 0) schedule(SPACING_MS);
      });
    }, ms);
  }

  function rulesOf(key: string): ServiceRules {
    const service = services.get(key);
    if (!service) return NO_RULES;
    // Cluster DNS answers at its Service address itself.
    if (service.spec?.clusterIPs?.some((ip) => layout.dnsAddresses.includes(ip))) return NO_RULES;
    return serviceRules(service, slicesOf.of(key), layout.nodes);
  }

  /** A transaction that fails is followed by a new table with everything. */
  async function program(): Promise<void> {
    const keys = [...dirty];
    dirty.clear();
    const commands: Commands = { add: [], change: [], remove: [] };
    for (const key of keys) {
      const next = rulesOf(key);
      addDifference(commands, applied.get(key) ?? NO_RULES, next, uses);
      if (next === NO_RULES) applied.delete(key);
      else applied.set(key, next);
    }
    const lines = [...commands.add, ...commands.change, ...commands.remove];
    if (lines.length === 0) return;
    try {
      await runWithInput('nft', ['-f', '-'], `${lines.join('\n')}\n`);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: MeshError.from(error) }, 'service rules refused, programming all of them anew');
      await programAll().catch((again) => {
        logger.error({ err: MeshError.from(again) }, 'service rules cannot be programmed');
        timer ??= setTimeout(() => {
          timer = undefined;
          running = programAll()
            .catch(() => {})
            .finally(() => (running = undefined));
        }, RETRY_MS);
      });
    }
  }

  async function programAll(): Promise<void> {
    applied = new Map();
    uses = new Map();
    dirty.clear();
    const commands: Commands = { add: [], change: [], remove: [] };
    for (const service of services.list()) {
      const key = objectKey(service);
      const next = rulesOf(key);
      addDifference(commands, NO_RULES, next, uses);
      applied.set(key, next);
    }
    const base = baseRuleset(usableAddresses(layout.serviceCidrs));
    const lines = [base, ...commands.add, ...commands.change, ...commands.remove];
    await runWithInput('nft', ['-f', '-'], `${lines.join('\n')}\n`);
  }

  await Promise.all([services.synced, slices.synced]);
  clearTimeout(timer);
  timer = undefined;
  await running;
  await programAll();
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await running;
    },
  };
}
