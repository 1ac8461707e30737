/** linkerd-identity, linkerd-identity-data-plane and linkerd-webhooks-and-apisvc-tls: certificates that hold, and for how long. */
import { createPrivateKey, type X509Certificate } from 'node:crypto';
import {
  CONFIG_MAPS,
  type ConfigMap,
  MeshError,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  type MutatingWebhookConfiguration,
  SECRETS,
  type Secret,
  VALIDATING_WEBHOOK_CONFIGURATIONS,
} from '@tulle/api';
import { isSignedBy, parseCertificates } from '../install/certificate-chain.ts';
import { WEBHOOKS } from '../install/webhooks.ts';
import type { Category, Check } from './check.ts';
import { type CheckContext, fail, failIfAny } from './context.ts';

/** Sooner than this an expiry is worth a warning. */
const EXPIRY_DAYS_MIN = 60;
const DAY_MS = 86_400_000;

export const linkerdIdentity: Category = {
  name: 'linkerd-identity',
  checks: [
    {
      description: 'certificate config is valid',
      anchor: 'l5d-identity-cert-config-valid',
      isFatal: true,
      run: async (context) => void (await identityOf(context)),
    },
    {
      description: 'trust anchors are using supported crypto algorithm',
      anchor: 'l5d-identity-trustAnchors-use-supported-crypto',
      isFatal: true,
      async run(context) {
        const { anchors } = await identityOf(context);
        failIfAny(
          anchors.flatMap((anchor) => (isAnchorKey(anchor) ? [] : [nameOf(anchor)])),
          'Invalid trustAnchors: want ECDSA P-256 or RSA 2048/4096',
        );
      },
    },
    validity('trust anchors are within their validity period', 'l5d-identity-trustAnchors-are-time-valid', anchorsOf),
    remaining('trust anchors are valid for at least 60 days', 'l5d-identity-trustAnchors-not-expiring-soon', anchorsOf),
    {
      description: 'issuer cert is using supported crypto algorithm',
      anchor: 'l5d-identity-issuer-cert-uses-supported-crypto',
      isFatal: true,
      async run(context) {
        const { issuer } = await identityOf(context);
        if (!isP256(issuer)) fail('issuer certificate must use P-256 curve for public key');
      },
    },
    validity('issuer cert is within its validity period', 'l5d-identity-issuer-cert-is-time-valid', issuerOf),
    remaining('issuer cert is valid for at least 60 days', 'l5d-identity-issuer-cert-not-expiring-soon', issuerOf),
    {
      description: 'issuer cert is issued by the trust anchor',
      anchor: 'l5d-identity-issuer-cert-issued-by-trust-anchor',
      async run(context) {
        const { issuer, anchors } = await identityOf(context);
        if (!anchors.some((anchor) => isSignedBy(issuer, anchor)))
          fail('issuer certificate is not signed by a trust anchor');
      },
    },
  ],
};

export const webhooksTls: Category = {
  name: 'linkerd-webhooks-and-apisvc-tls',
  checks: ['linkerd-proxy-injector', 'linkerd-sp-validator', 'linkerd-policy-validator'].flatMap(webhookChecks),
};

function webhookChecks(webhookName: string): Check[] {
  const { name, configuration } = WEBHOOKS.find((webhook) => webhook.name === webhookName)!;
  const short = name.replace('linkerd-', '');
  const kind =
    configuration.kind === 'MutatingWebhookConfiguration'
      ? MUTATING_WEBHOOK_CONFIGURATIONS
      : VALIDATING_WEBHOOK_CONFIGURATIONS;
  return [
    {
      description: `${short} webhook has valid cert`,
      anchor: `l5d-${short}-webhook-cert-valid`,
      isFatal: true,
      async run(context) {
        const certificate = await webhookCertificate(context, name);
        const { webhooks } = await context.get<MutatingWebhookConfiguration>(kind, configuration.name);
        const bundle = parseCertificates(decode(webhooks?.[0]?.clientConfig.caBundle));
        if (!bundle.some((authority) => isSignedBy(certificate, authority)))
          fail('cert is not issued by the CA bundle of the webhook');
        const host = `${name}.${context.settings.controlPlaneNamespace}.svc`;
        if (!certificate.checkHost(host)) fail(`cert is not valid for ${host}`);
        failIfAny(timeProblems([certificate], context.nowMs()), 'cert is not within its validity period');
      },
    },
    remaining(
      `${short} cert is valid for at least 60 days`,
      `l5d-${short}-webhook-cert-not-expiring-soon`,
      async (context) => [await webhookCertificate(context, name)],
    ),
  ];
}

export const identityDataPlane: Category = {
  name: 'linkerd-identity-data-plane',
  checks: [
    {
      description: 'data plane proxies certificate match CA',
      anchor: 'l5d-identity-data-plane-proxies-certs-match-ca',
      isWarning: true,
      async run(context) {
        const anchors = fingerprints((await identityOf(context)).anchors);
        const stale = (await context.dataPlanePods()).flatMap(({ metadata, spec }) => {
          const proxy = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find(
            ({ name }) => name === 'linkerd-proxy',
          );
          const text = proxy?.env?.find(({ name }) => name === 'LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS')?.value;
          return !text || fingerprints(parseCertificates(text)) === anchors
            ? []
            : [`${metadata.namespace}/${metadata.name}`];
        });
        failIfAny(stale, 'Some pods do not have the current trust bundle and must be restarted:');
      },
    },
  ],
};

interface Identity {
  anchors: X509Certificate[];
  issuer: X509Certificate;
}

async function identityOf(context: CheckContext): Promise<Identity> {
  const namespace = context.settings.controlPlaneNamespace;
  const roots = await context.get<ConfigMap>(CONFIG_MAPS, 'linkerd-identity-trust-roots', namespace);
  const secret = await context.get<Secret>(SECRETS, 'linkerd-identity-issuer', namespace);
  const anchors = read('ConfigMap linkerd-identity-trust-roots, key ca-bundle.crt', () =>
    parseCertificates(roots.data?.['ca-bundle.crt'] ?? ''),
  );
  const { data = {} } = secret;
  const issuer = read(
    'Secret linkerd-identity-issuer',
    () => parseCertificates(decode(data['crt.pem'] ?? data['tls.crt']))[0]!,
  );
  const key = read('key of Secret linkerd-identity-issuer', () =>
    createPrivateKey(decode(data['key.pem'] ?? data['tls.key'])),
  );
  if (!issuer.checkPrivateKey(key)) fail("the key of Secret linkerd-identity-issuer is not its certificate's");
  return { anchors, issuer };
}

async function anchorsOf(context: CheckContext): Promise<X509Certificate[]> {
  return (await identityOf(context)).anchors;
}

async function issuerOf(context: CheckContext): Promise<X509Certificate[]> {
  return [(await identityOf(context)).issuer];
}

async function webhookCertificate(context: CheckContext, webhook: string): Promise<X509Certificate> {
  const name = `${webhook}-k8s-tls`;
  const secret = await context.get<Secret>(SECRETS, name, context.settings.controlPlaneNamespace);
  return read(`Secret ${name}`, () => parseCertificates(decode(secret.data?.['tls.crt']))[0]!);
}

function validity(
  description: string,
  anchor: string,
  certificates: (context: CheckContext) => Promise<X509Certificate[]>,
): Check {
  return {
    description,
    anchor,
    isFatal: true,
    async run(context) {
      failIfAny(timeProblems(await certificates(context), context.nowMs()), 'not within their validity period:');
    },
  };
}

function remaining(
  description: string,
  anchor: string,
  certificates: (context: CheckContext) => Promise<X509Certificate[]>,
): Check {
  return {
    description,
    anchor,
    isWarning: true,
    async run(context) {
      const soon = (await certificates(context)).flatMap((certificate) => {
        const days = (certificate.validToDate.getTime() - context.nowMs()) / DAY_MS;
        return days < EXPIRY_DAYS_MIN
          ? [`${nameOf(certificate)} will expire on ${certificate.validToDate.toISOString()}`]
          : [];
      });
      failIfAny(soon, 'expiring soon:');
    },
  };
}

function timeProblems(certificates: readonly X509Certificate[], nowMs: number): string[] {
  return certificates.flatMap((certificate) => {
    if (certificate.validToDate.getTime() < nowMs)
      return [`${nameOf(certificate)} not valid anymore. Expired on ${certificate.validToDate.toISOString()}`];
    if (certificate.validFromDate.getTime() > nowMs)
      return [`${nameOf(certificate)} not valid before: ${certificate.validFromDate.toISOString()}`];
    return [];
  });
}

const nameOf = ({ serialNumber, subject }: X509Certificate) => `${serialNumber} ${subject.replaceAll('\n', ',')}`;
const decode = (text = '') => Buffer.from(text, 'base64').toString('utf8');
const isP256 = ({ publicKey }: X509Certificate) => publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1';
const isAnchorKey = (anchor: X509Certificate) =>
  isP256(anchor) || [2048, 4096].includes(anchor.publicKey.asymmetricKeyDetails?.modulusLength ?? 0);
const fingerprints = (certificates: readonly X509Certificate[]) =>
  certificates
    .map(({ fingerprint256 }) => fingerprint256)
    .sort()
    .join();

function read<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new MeshError('FAILED_PRECONDITION', `read ${what}: ${MeshError.from(error).message}`, { cause: error });
  }
}
