/** The validating webhooks `linkerd-policy-validator` and `linkerd-sp-validator`: two servers with a certificate each. */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Container,
  GRPC_ROUTES,
  HTTP_ROUTES,
  type Kind,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  PODS,
  POLICY_HTTP_ROUTES,
  type Pod,
  SERVERS,
  SERVICE_PROFILES,
} from '@tulle/api';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import { reviewHandler } from '../webhook/review.ts';
import { startWebhookServer, type WebhookServer } from '../webhook/server.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { Neighbours } from './neighbours.ts';
import { checkProfile } from './profile-rules.ts';
import { answerReview, type ReviewOptions } from './review.ts';
import { checkPolicy } from './rules.ts';

export interface AdmissionOptions {
  policyValidator: ListenOptions;
  spValidator: ListenOptions;
  neighbours: Neighbours;
  /** What the status of an object would say that is not as it should be. */
  preview(object: KubeObject): readonly string[];
  /** Whether the cluster is read: before, nothing is said of it. */
  isSynced(): boolean;
  logger: Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;
  metrics: MetricRegistry;
}

interface ListenOptions {
  /** `host:port` or `:port`. */
  address: string;
  /** Folder with `tls.crt` and `tls.key`. */
  certDir: string;
}

export interface Admission extends AsyncDisposable {
  ports: { policyValidator: number; spValidator: number };
}

/** Objects that warnings speak of. */
const NEIGHBOURS: readonly { kind: Kind; isOptional: boolean }[] = [
  { kind: PODS, isOptional: false },
  ...[
    SERVERS,
    MESH_TLS_AUTHENTICATIONS,
    NETWORK_AUTHENTICATIONS,
    SERVICE_PROFILES,
    POLICY_HTTP_ROUTES,
    HTTP_ROUTES,
    GRPC_ROUTES,
  ].map((kind) => ({ kind, isOptional: true })),
];
/** What stands before an object in the same file is a moment old, and the watch may not have told of it yet. */
const LOOK_AGAIN_MS = 250;

/** Registers its watches with `state`, which must not have started. */
export function watchNeighbours(state: Pick<ClusterState, 'watch'>, clusterDomain: string): Neighbours {
  const neighbours = new Neighbours(clusterDomain);
  for (const { kind, isOptional } of NEIGHBOURS) {
    const apply = (type: 'set' | 'delete', object: KubeObject) => {
      const known = kind === PODS ? withPorts(object as Pod) : object;
      neighbours.apply(type, { ...known, apiVersion: kind.apiVersion, kind: kind.kind });
      return [];
    };
    state.watch(kind, apply, { isOptional });
  }
  return neighbours;
}

/** What is compared of a pod: its labels and ports. The rest of 5,000 pods would be 60 MB. */
function withPorts({ metadata, spec }: Pod): KubeObject {
  const { name, namespace, labels } = metadata;
  const ports = (container: Container) => ({ ports: container.ports, restartPolicy: container.restartPolicy });
  const containers = (spec?.containers ?? []).map(ports);
  return {
    metadata: { name, namespace, labels },
    spec: { containers, initContainers: (spec?.initContainers ?? []).map(ports) },
  };
}

/** Resolves when both webhooks answer. @throws MeshError when a certificate cannot be loaded or a port is taken. */
export async function startAdmission(options: AdmissionOptions): Promise<Admission> {
  const { neighbours, preview, isSynced } = options;
  const look = (object: KubeObject) => [...new Set([...neighbours.warnings(object), ...preview(object)])];
  const surroundings = async (object: KubeObject) => {
    if (!isSynced() || look(object).length === 0) return [];
    await delay(LOOK_AGAIN_MS);
    return look(object);
  };
  await using stack = new AsyncDisposableStack();
  const policy = stack.use(
    await serve('policy-validator', options.policyValidator, { check: checkPolicy, surroundings }, options),
  );
  const profile = stack.use(
    await serve(
      'sp-validator',
      options.spValidator,
      {
        check: (group, kind, object) =>
          kind === 'ServiceProfile' ? checkProfile(object) : checkPolicy(group, kind, object),
        surroundings,
      },
      options,
    ),
  );
  const running = stack.move();
  return {
    ports: { policyValidator: policy.port, spValidator: profile.port },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function serve(
  name: string,
  listen: ListenOptions,
  rules: Omit<ReviewOptions, 'onError'>,
  { logger, metrics }: AdmissionOptions,
): Promise<WebhookServer> {
  const reviews = metrics.counter('admission_reviews_total', 'Objects reviewed by the validating webhooks, by answer');
  const onError = (error: Error) => logger.error({ webhook: name, error: error.message }, 'review failed');
  const handle = reviewHandler(async (request) => {
    const response = await answerReview(request, { ...rules, onError });
    const { kind, namespace, operation } = request;
    reviews.add({ webhook: name, kind: kind.kind, allowed: String(response.allowed) });
    logger.debug(
      { webhook: name, kind: kind.kind, namespace, operation, allowed: response.allowed },
      'object reviewed',
    );
    return response;
  });
  return startWebhookServer({
    ...listen,
    handle: (_path, body) => handle(body),
    onReload: (error) =>
      error
        ? logger.warn({ webhook: name, error: error.message }, 'webhook certificate not reloaded')
        : logger.info({ webhook: name }, 'webhook certificate reloaded'),
  });
}
