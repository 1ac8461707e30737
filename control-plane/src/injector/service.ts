/**
 * The injector's way in: serves the webhook `linkerd-proxy-injector`, with values from ConfigMap `linkerd-config`, and
 * tells what it did by Events on the pod's owner and by metrics.
 */
import { CONFIG_MAPS, CORE_EVENTS, type ConfigMap, type KubeObject, MeshError, NAMESPACES } from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { MetricRegistry } from '../metric-registry.ts';
import { deny, reviewHandler } from '../webhook/review.ts';
import { startWebhookServer } from '../webhook/server.ts';
import { createOwnerLookup } from './owners.ts';
import { answerReview, type ReviewOutcome } from './review.ts';
import type { Values } from './values.ts';
import { parseValues } from './values-layers.ts';

/** The part of a pino logger that is used. */
export interface InjectorLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface InjectorOptions {
  client: Client;
  /** Namespace of the control plane. */
  controlPlaneNamespace: string;
  /** `host:port` or `:port`. */
  address: string;
  /** Folder with `tls.crt` and `tls.key`, where Secret `linkerd-proxy-injector-k8s-tls` is mounted. */
  certDir: string;
  logger: InjectorLogger;
  metrics: MetricRegistry;
}

export interface Injector {
  port: number;
  [Symbol.asyncDispose](): Promise<void>;
}

/** More Events than this at once are dropped: they tell, they do not decide, and must not hold memory. */
const EVENTS_IN_FLIGHT_MAX = 100;

/** Resolves when the webhook answers. Throws when the first values or the certificate cannot be had. */
export async function createInjector(options: InjectorOptions, signal: AbortSignal): Promise<Injector> {
  const { client, controlPlaneNamespace, logger } = options;
  const requests = options.metrics.counter('proxy_inject_admission_requests_total', 'Pods reviewed for injection.');
  const responses = options.metrics.counter('proxy_inject_admission_responses_total', 'Answers about pods.');
  const values = await watchValues(options, signal);
  const namespaces = startReflector(client, NAMESPACES, { onError: logging('namespaces', logger) }, signal);
  await namespaces.synced;
  const ownerOf = createOwnerLookup(client);
  let eventsInFlight = 0;

  async function namespaceAnnotations(name: string): Promise<Record<string, string>> {
    // A pod may come before the watch has told of its new namespace.
    const namespace = namespaces.get(name) ?? (await client.get<KubeObject>(NAMESPACES, name));
    return (namespace.metadata.annotations ?? {}) as Record<string, string>;
  }

  function tell({ injection }: ReviewOutcome): void {
    if (!injection) return;
    const { owner, namespace, report } = injection;
    const labels = { owner_kind: owner.kind.toLowerCase(), namespace, annotation_at: report.annotatedAt };
    requests.add(labels);
    responses.add({ ...labels, skip: String(report.skip !== undefined), skip_reason: report.skip?.reason ?? '' });
    logger.debug({ owner: `${owner.kind}/${owner.name}`, namespace, skip: report.skip?.reason }, 'reviewed pod');
    if (eventsInFlight >= EVENTS_IN_FLIGHT_MAX || !owner.name) return;
    eventsInFlight += 1;
    client
      .create(CORE_EVENTS, eventOf(injection), { namespace })
      .catch((error) => logger.debug({ err: MeshError.from(error).message, namespace }, 'event not recorded'))
      .finally(() => {
        eventsInFlight -= 1;
      });
  }

  const handle = reviewHandler(async (request) => {
    try {
      const outcome = await answerReview(request, {
        values: values(),
        controlPlaneNamespace,
        namespaceAnnotations,
        ownerOf,
      });
      tell(outcome);
      return outcome.response;
    } catch (error) {
      const { message } = MeshError.from(error);
      logger.warn({ err: message, namespace: request.namespace }, 'review failed');
      return deny(request.uid, `inject proxy: ${message}`);
    }
  });

  return startWebhookServer({
    address: options.address,
    certDir: options.certDir,
    handle: (_path, body) => handle(body),
    onReload: (error) =>
      error
        ? logger.warn({ err: error.message }, 'webhook certificate not reloaded')
        : logger.info({}, 'webhook certificate reloaded'),
  });
}

/** The values as they are now; bad ones are reported and the last good ones kept. */
async function watchValues(options: InjectorOptions, signal: AbortSignal): Promise<() => Values> {
  const { client, controlPlaneNamespace: namespace, logger } = options;
  const selection = { namespace, fieldSelector: 'metadata.name=linkerd-config', onError: logging('values', logger) };
  const configs = startReflector<ConfigMap>(client, CONFIG_MAPS, selection, signal);
  let values: Values | undefined;
  let problem = `there is no ConfigMap linkerd-config in namespace ${namespace}`;
  configs.subscribe(({ type, object }) => {
    if (type === 'deleted') return;
    try {
      values = parseValues(object.data?.values ?? '');
      logger.info({ resourceVersion: object.metadata.resourceVersion }, 'values loaded');
    } catch (error) {
      problem = MeshError.from(error).message;
      logger.warn({ err: problem }, 'values not loaded');
    }
  });
  await configs.synced;
  return () => {
    if (!values) throw new MeshError('FAILED_PRECONDITION', `load values: ${problem}`);
    return values;
  };
}

/** A watch is tried again by itself: what is there goes on being used. */
const logging = (what: string, logger: InjectorLogger) => (error: MeshError) =>
  logger.warn({ watch: what, err: error.message }, 'watch failed');

function eventOf({ owner, namespace, report }: NonNullable<ReviewOutcome['injection']>): object {
  const now = new Date();
  const skip = report.skip;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { generateName: `${owner.name.slice(0, 200)}.`, namespace },
    involvedObject: { ...owner, namespace },
    reason: skip ? 'InjectionSkipped' : 'Injected',
    message: skip ? `Linkerd sidecar proxy injection skipped: ${skip.message}` : 'Linkerd sidecar proxy injected',
    type: skip?.reason.startsWith('invalid') ? 'Warning' : 'Normal',
    source: { component: 'linkerd-proxy-injector' },
    firstTimestamp: now.toISOString().replace(/\.\d+Z$/, 'Z'),
    lastTimestamp: now.toISOString().replace(/\.\d+Z$/, 'Z'),
    count: 1,
  };
}
