/** The identity service: certificates for proxies. */
import { MeshError } from '@tulle/api';
import { type CertifyRequest, Identity } from '@tulle/api/gen/identity_pb.ts';
import type { Client } from '@tulle/client';
import { createEventRecorder } from '../events.ts';
import type { GrpcRouter } from '../grpc/router.ts';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import { CertificateAuthority } from './authority.ts';
import { startIssuerSource } from './issuer-source.ts';
import { createTokenReview } from './token-review.ts';

export interface IdentityOptions {
  client: Client;
  controllerNamespace: string;
  trustDomain: string;
  issuanceLifetimeMs: number;
  clockSkewAllowanceMs: number;
  issuerPath: string;
  trustAnchorsPath: string;
  metrics: MetricRegistry;
  logger: Logger;
}

export interface IdentityService {
  routes: (router: GrpcRouter) => void;
  isReady: () => boolean;
}

export function startIdentity(options: IdentityOptions, signal: AbortSignal): IdentityService {
  const { client, logger, metrics } = options;
  const authority = new CertificateAuthority({
    ...options,
    reviewToken: createTokenReview(client),
    recordEvent: createEventRecorder({ client, logger, component: 'linkerd-identity' }),
  });
  // One after the other, so that the last one read is the one that stays.
  let updates = Promise.resolve();
  startIssuerSource(
    { ...options, namespace: options.controllerNamespace },
    {
      onPems: (pems) => {
        updates = updates.then(() => authority.setIssuer(pems));
      },
      onError: (error) => authority.reportSourceError(error),
    },
    signal,
  );
  const certifications = metrics.counter('identity_certifications_total', 'Certificates asked for, by result');

  async function certify(request: CertifyRequest) {
    const { identity, token, certificateSigningRequest: csr } = request;
    try {
      const { leaf, intermediates, validUntil } = await authority.certify({ identity, token, csr });
      certifications.add({ result: 'issued' });
      return {
        leafCertificate: leaf,
        intermediateCertificates: intermediates,
        validUntil: { seconds: BigInt(Math.floor(validUntil.getTime() / 1000)) },
      };
    } catch (cause) {
      const { code, message } = MeshError.from(cause, 'INTERNAL');
      certifications.add({ result: code.toLowerCase() });
      logger.warn({ identity: identity.slice(0, 253), code, error: message }, 'certificate refused');
      throw cause;
    }
  }

  return { routes: (router) => router.service(Identity, { certify }), isReady: () => authority.isReady };
}
