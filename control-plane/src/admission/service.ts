/** The validating webhooks `linkerd-policy-validator` and `linkerd-sp-validator`: two servers with a certificate each. */
import type { KubeObject } from '@tulle/api';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import { reviewHandler } from '../webhook/review.ts';
import { startWebhookServer, type WebhookServer } from '../webhook/server.ts';
import { checkProfile } from './profile-rules.ts';
import { answerReview, type ReviewOptions } from './review.ts';
import { checkPolicy } from './rules.ts';

export interface AdmissionOptions {
  policyValidator: ListenOptions;
  spValidator: ListenOptions;
  /** What the author of an object should know of the rest of the cluster. */
  surroundings(object: KubeObject): readonly string[];
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

/** Resolves when both webhooks answer. @throws MeshError when a certificate cannot be loaded or a port is taken. */
export async function startAdmission(options: AdmissionOptions): Promise<Admission> {
  const { surroundings } = options;
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
    const response = answerReview(request, { ...rules, onError });
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
