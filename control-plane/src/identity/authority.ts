/**
 * The certificate authority of the mesh: checks that a request is for the name of its token, and signs it with the
 * issuer that is current. A new issuer that is not good leaves the old one in place.
 */
import { MeshError } from '@tulle/api';
import type { EventSubject, RecordEvent } from '../events.ts';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import { identityName } from '../workloads/mesh-names.ts';
import { checkSigningRequest } from './csr.ts';
import { type Issuer, type IssuerPems, parseIssuer } from './issuer.ts';
import { signLeaf } from './leaf.ts';
import type { ReviewToken } from './token-review.ts';

export interface AuthorityOptions {
  controllerNamespace: string;
  trustDomain: string;
  issuanceLifetimeMs: number;
  clockSkewAllowanceMs: number;
  reviewToken: ReviewToken;
  recordEvent: RecordEvent;
  metrics: MetricRegistry;
  logger: Logger;
  now?: () => Date;
}

export interface CertifyRequest {
  identity: string;
  token: Uint8Array;
  csr: Uint8Array;
}

export interface Certificate {
  leaf: Uint8Array;
  intermediates: Uint8Array[];
  validUntil: Date;
}

/** A service account token is a few KiB at most. */
const TOKEN_BYTES_MAX = 64 * 1024;

export class CertificateAuthority {
  readonly #options: AuthorityOptions;
  readonly #now: () => Date;
  #issuer: Issuer | undefined;
  #problem = 'no issuer is loaded yet';

  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
    const ttl = options.metrics.gauge('issuer_cert_ttl_seconds', 'Seconds until the issuer certificate expires');
    options.metrics.collect(() => {
      if (this.#issuer) ttl.set((this.#issuer.notAfter.getTime() - this.#now().getTime()) / 1000);
    });
  }

  get isReady(): boolean {
    return this.#issuer !== undefined;
  }

  /** Takes up an issuer, or keeps the one it has and says why. */
  async setIssuer(pems: IssuerPems): Promise<void> {
    try {
      this.#issuer = await parseIssuer(pems, this.#now());
    } catch (cause) {
      const { message } = MeshError.from(cause);
      this.#problem = message;
      this.#options.logger.error({ error: message, keepsOld: this.isReady }, 'issuer refused');
      this.#tell(this.isReady ? 'IssuerUpdateSkipped' : 'IssuerValidationFailed', message);
      return;
    }
    const { subject, notAfter } = this.#issuer;
    this.#options.logger.info({ subject, notAfter: notAfter.toISOString() }, 'issuer loaded');
    this.#tell('IssuerUpdated', `loaded issuer ${subject}, valid until ${notAfter.toISOString()}`);
  }

  /** A source that cannot be read: the issuer stays. */
  reportSourceError(error: MeshError): void {
    if (!this.#issuer) this.#problem = error.message;
    this.#options.logger.warn({ error: error.message }, 'issuer not read');
  }

  /** @throws MeshError `INVALID_ARGUMENT`, `UNAUTHENTICATED`, `FAILED_PRECONDITION` or `UNAVAILABLE`. */
  async certify({ identity, token, csr }: CertifyRequest): Promise<Certificate> {
    const { controllerNamespace, trustDomain } = this.#options;
    if (identity === '') throw new MeshError('INVALID_ARGUMENT', 'certify: no identity');
    if (token.length === 0 || token.length > TOKEN_BYTES_MAX)
      throw new MeshError('INVALID_ARGUMENT', 'certify: no token');
    if (csr.length === 0) throw new MeshError('INVALID_ARGUMENT', 'certify: no certificate signing request');
    const request = await checkSigningRequest(csr, identity);
    const account = await this.#options.reviewToken(Buffer.from(token).toString('utf8').trim());
    const name = identityName(account.name, account.namespace, { controllerNamespace, trustDomain });
    if (name !== identity) {
      throw new MeshError('FAILED_PRECONDITION', `certify "${identity.slice(0, 253)}": the token is of "${name}"`);
    }
    const issuer = this.#issuer;
    if (!issuer) throw new MeshError('UNAVAILABLE', `certify: ${this.#problem}`);
    const { issuanceLifetimeMs: lifetimeMs, clockSkewAllowanceMs } = this.#options;
    const leaf = await signLeaf(issuer, { identity, request, now: this.#now(), lifetimeMs, clockSkewAllowanceMs });
    const validUntil = leaf.notAfter;
    this.#options.logger.debug({ identity, validUntil, fingerprint: leaf.fingerprint }, 'certificate issued');
    this.#options.recordEvent({
      subject: { apiVersion: 'v1', kind: 'ServiceAccount', ...account },
      type: 'Normal',
      reason: 'IssuedLeafCertificate',
      message: `issued certificate for ${identity} until ${validUntil.toISOString()}: ${leaf.fingerprint}`,
    });
    return { leaf: leaf.der, intermediates: issuer.chain, validUntil };
  }

  #tell(reason: 'IssuerUpdated' | 'IssuerUpdateSkipped' | 'IssuerValidationFailed', message: string): void {
    const { controllerNamespace: namespace } = this.#options;
    const subject: EventSubject = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'linkerd-destination' };
    this.#options.recordEvent({ subject, type: reason === 'IssuerUpdated' ? 'Normal' : 'Warning', reason, message });
  }
}
