/** `tulle install`: prints the custom resource definitions or the control plane's manifests. Applies nothing. */
import {
  CONFIG_MAPS,
  type ConfigMap,
  type KubeObject,
  MeshError,
  PODS,
  type Pod,
  SECRETS,
  type Secret,
} from '@tulle/api';
import type { Client } from '@tulle/client';
import { trustDomain, type Values, VERSION } from '@tulle/control-plane/injector/values.ts';
import type { Command } from 'commander';
import { connect, type GlobalOptions, globalOptions, withGlobalOptions } from '../globals.ts';
import { type Credentials, credentialProblems } from '../install/certificate-chain.ts';
import { createIdentityCredentials, createWebhookCertificate } from '../install/certificates.ts';
import { crdManifests, gatewayState, missingCrds } from '../install/crds.ts';
import { addValueFlags, INSTALL_FLAGS, readText, valuesFrom } from '../install/install-values.ts';
import { controlPlaneManifests } from '../install/manifests.ts';
import { WEBHOOKS, type WebhookCertificate, type WebhookCertificates } from '../install/webhooks.ts';
import { outputFormat, printDocuments } from '../output/documents.ts';

const CREATED_BY = `linkerd/cli ${VERSION}`;

interface InstallOptions {
  crds?: boolean;
  enableSmi?: boolean;
  set?: string[];
  ignoreCluster?: boolean;
  identityTrustAnchorsFile?: string;
  identityIssuerCertificateFile?: string;
  identityIssuerKeyFile?: string;
  identityExternalIssuer?: boolean;
  identityExternalCa?: boolean;
  output?: string;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('install'))
    .description(
      'Print the definitions (--crds), then the control plane. Apply each with: tulle install … | kubectl apply -f -',
    )
    .option('--crds', 'print the custom resource definitions instead; they are to be applied first')
    .option('--ha', 'three replicas, spread over nodes, with resource limits')
    .option('--ignore-cluster', 'do not look at the cluster for what is installed already and what it supports')
    .option('--identity-trust-anchors-file <file>', 'PEM file with the trust anchors')
    .option('--identity-issuer-certificate-file <file>', "PEM file with the identity issuer's certificate")
    .option('--identity-issuer-key-file <file>', "PEM file with the identity issuer's key")
    .option('--identity-external-issuer', 'Secret linkerd-identity-issuer is made by others, such as cert-manager')
    .option('--identity-external-ca', 'ConfigMap linkerd-identity-trust-roots is made by others, such as trust-manager')
    .option('-o, --output <format>', 'yaml or json');
  addValueFlags(command, INSTALL_FLAGS).action(async () => {
    process.stdout.write(await install(globalOptions(command), command.opts()));
  });
}

async function install(globals: GlobalOptions, options: InstallOptions): Promise<string> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  if (options.crds) return printDocuments(await installCrds(globals, options), format);
  const { values, overrides } = valuesFrom(options as Record<string, unknown>, INSTALL_FLAGS);
  const namespace = globals.linkerdNamespace;
  const found = options.ignoreCluster ? {} : await lookAtCluster(globals, namespace);
  if (found.missingDefinitions?.length) {
    throw new MeshError(
      'FAILED_PRECONDITION',
      `the cluster lacks the custom resource definitions ${found.missingDefinitions.join(', ')}; apply them first: tulle install --crds | kubectl apply -f -`,
    );
  }
  if (found.isDualStack && !hasOwnSetting(overrides, 'disableIPv6')) values.disableIPv6 = false;

  await setIdentity(values, options, namespace, found);
  const certificates = await webhookCertificates(namespace, found.certificates);
  return printDocuments(
    controlPlaneManifests({ namespace, values, overrides, certificates, createdBy: CREATED_BY }),
    format,
  );
}

/** The definitions; of the Gateway API only what the cluster lacks, or `--set installGatewayAPI=…` asks for. */
async function installCrds(globals: GlobalOptions, options: InstallOptions): Promise<KubeObject[]> {
  const installGatewayApi = gatewaySetting(options.set);
  const state = options.ignoreCluster
    ? ({ kind: 'unknown' } as const)
    : await onCluster(globals, (client) => gatewayState(client));
  const { objects, notes } = crdManifests(
    {
      namespace: globals.linkerdNamespace,
      createdBy: CREATED_BY,
      hasSmi: options.enableSmi ?? false,
      installGatewayApi,
    },
    state,
  );
  for (const note of notes) process.stderr.write(`${note}\n`);
  return objects;
}

function gatewaySetting(set: readonly string[] = []): boolean | undefined {
  let setting: boolean | undefined;
  for (const text of set.flatMap((list) => list.split(','))) {
    const value = /^installGatewayAPI=(true|false)$/.exec(text)?.[1];
    if (!value) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `--set ${text}: with --crds only installGatewayAPI=true or =false can be set`,
      );
    }
    setting = value === 'true';
  }
  return setting;
}

/** One for each webhook: what is installed is kept. */
async function webhookCertificates(namespace: string, found: WebhookCertificates = {}): Promise<WebhookCertificates> {
  const pairs = WEBHOOKS.map(async ({ name }) => [
    name,
    found[name] ?? (await createWebhookCertificate(name, namespace)),
  ]);
  return Object.fromEntries(await Promise.all(pairs));
}

/** Fills in trust anchors and issuer: from files, from the values, from what is installed, or new ones. */
async function setIdentity(values: Values, options: InstallOptions, namespace: string, found: Found): Promise<void> {
  const given = credentialsFromFiles(options) ?? credentialsFromValues(values);
  if (options.identityExternalCa) values.identity.externalCA = true;
  if (options.identityExternalIssuer) values.identity.issuer.scheme = 'kubernetes.io/tls';
  if (values.identity.issuer.scheme === 'kubernetes.io/tls') {
    values.identityTrustAnchorsPEM ||= options.identityTrustAnchorsFile
      ? readText(options.identityTrustAnchorsFile)
      : '';
    if (!values.identityTrustAnchorsPEM && !values.identity.externalCA) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        'an external issuer needs --identity-trust-anchors-file or --identity-external-ca',
      );
    }
    return;
  }
  if (given) {
    const problems = credentialProblems(given, namespace, trustDomain(values));
    if (problems.length)
      throw new MeshError('INVALID_ARGUMENT', `use the given certificates: ${problems.join('\n  ')}`);
  } else if (found.credentials) {
    process.stderr.write(`namespace ${namespace} has a control plane: its trust anchors and issuer are kept\n`);
  }
  const credentials = given ?? found.credentials ?? (await createIdentityCredentials(namespace, trustDomain(values)));
  values.identityTrustAnchorsPEM = credentials.trustAnchorsPem;
  values.identity.issuer.tls = { crtPEM: credentials.issuerCertPem, keyPEM: credentials.issuerKeyPem };
}

function credentialsFromFiles(options: InstallOptions): Credentials | undefined {
  const {
    identityTrustAnchorsFile: anchors,
    identityIssuerCertificateFile: cert,
    identityIssuerKeyFile: key,
  } = options;
  if (options.identityExternalIssuer || (!anchors && !cert && !key)) return undefined;
  if (!anchors || !cert || !key) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      'give all of --identity-trust-anchors-file, --identity-issuer-certificate-file and --identity-issuer-key-file, or none',
    );
  }
  return { trustAnchorsPem: readText(anchors), issuerCertPem: readText(cert), issuerKeyPem: readText(key) };
}

function credentialsFromValues(values: Values): Credentials | undefined {
  const { crtPEM, keyPEM } = values.identity.issuer.tls;
  if (!values.identityTrustAnchorsPEM || !crtPEM || !keyPEM) return undefined;
  return { trustAnchorsPem: values.identityTrustAnchorsPEM, issuerCertPem: crtPEM, issuerKeyPem: keyPEM };
}

interface Found {
  missingDefinitions?: string[];
  credentials?: Credentials;
  certificates?: WebhookCertificates;
  isDualStack?: boolean;
}

/** What an installation keeps, so that printing twice does not change the mesh's identity, and whether pods have IPv6. */
async function lookAtCluster(globals: GlobalOptions, namespace: string): Promise<Found> {
  return onCluster(globals, async (client) => {
    const [missingDefinitions, pods, roots, issuer, ...secrets] = await Promise.all([
      missingCrds(client),
      client
        .request('GET', '/api/v1/nodes', {})
        .then((answer) => answer.json<{ items: { spec?: { podCIDRs?: string[] } }[] }>()),
      orAbsent(client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-identity-trust-roots', namespace)),
      orAbsent(client.get<Secret>(SECRETS, 'linkerd-identity-issuer', namespace)),
      ...WEBHOOKS.map(({ name }) => orAbsent(client.get<Secret>(SECRETS, `${name}-k8s-tls`, namespace))),
    ]);
    const isDualStack =
      pods.items.some(({ spec }) => spec?.podCIDRs?.some((cidr) => cidr.includes(':'))) || (await hasIPv6Pods(client));
    const trustAnchorsPem = roots?.data?.['ca-bundle.crt'];
    const [issuerCertPem, issuerKeyPem] = [decoded(issuer, 'crt.pem'), decoded(issuer, 'key.pem')];
    const certificates: Record<string, WebhookCertificate> = {};
    for (const [i, { name }] of WEBHOOKS.entries()) {
      const [certPem, keyPem] = [decoded(secrets[i], 'tls.crt'), decoded(secrets[i], 'tls.key')];
      if (certPem && keyPem) certificates[name] = { certPem, keyPem };
    }
    return {
      missingDefinitions,
      isDualStack,
      certificates,
      ...(trustAnchorsPem && issuerCertPem && issuerKeyPem
        ? { credentials: { trustAnchorsPem, issuerCertPem, issuerKeyPem } }
        : {}),
    };
  });
}

async function onCluster<T>(globals: GlobalOptions, look: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(globals);
  try {
    return await look(client);
  } catch (error) {
    const { code, message, status } = MeshError.from(error);
    throw new MeshError(code, `look at the cluster: ${message} (with --ignore-cluster nothing is looked at)`, {
      cause: error,
      status,
    });
  } finally {
    client.close();
  }
}

async function hasIPv6Pods(client: Client): Promise<boolean> {
  const { items } = await client.list<Pod>(PODS, { namespace: 'kube-system' });
  return items.some(({ status }) => status?.podIPs?.some(({ ip }) => ip?.includes(':')));
}

async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (MeshError.from(error).code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function decoded(secret: Secret | undefined, key: string): string {
  return Buffer.from(secret?.data?.[key] ?? '', 'base64').toString('utf8');
}

function hasOwnSetting(overrides: object, key: string): boolean {
  return key in overrides;
}
