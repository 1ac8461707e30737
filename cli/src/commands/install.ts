/** `tulle install`: prints the control plane's manifests. Applies nothing. */
import { CONFIG_MAPS, type ConfigMap, MeshError, PODS, type Pod, SECRETS, type Secret } from '@tulle/api';
import type { Client } from '@tulle/client';
import { trustDomain, type Values, VERSION } from '@tulle/control-plane/injector/values.ts';
import type { Command } from 'commander';
import { connect, type GlobalOptions, globalOptions, withGlobalOptions } from '../globals.ts';
import { type Credentials, credentialProblems } from '../install/certificate-chain.ts';
import { createIdentityCredentials, createWebhookCertificate } from '../install/certificates.ts';
import { addValueFlags, INSTALL_FLAGS, readText, valuesFrom } from '../install/install-values.ts';
import { controlPlaneManifests } from '../install/manifests.ts';
import { outputFormat, printDocuments } from '../output/documents.ts';

interface InstallOptions {
  crds?: boolean;
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
    .description('Print the manifests of the control plane. Apply them with: tulle install | kubectl apply -f -')
    .option('--crds', 'print the custom resource definitions instead')
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
  if (options.crds) {
    process.stderr.write(
      'there are no custom resource definitions yet: they come with policy; `tulle install` is complete\n',
    );
    return '';
  }
  const { values, overrides } = valuesFrom(options as Record<string, unknown>, INSTALL_FLAGS);
  const namespace = globals.linkerdNamespace;
  const found = options.ignoreCluster ? {} : await lookAtCluster(globals, namespace);
  if (found.isDualStack && !hasOwnSetting(overrides, 'disableIPv6')) values.disableIPv6 = false;

  await setIdentity(values, options, namespace, found);
  const webhook = found.webhook ?? (await createWebhookCertificate('linkerd-proxy-injector', namespace));
  if (values.proxyInjector.crtPEM && values.proxyInjector.keyPEM) {
    webhook.certPem = values.proxyInjector.crtPEM;
    webhook.keyPem = values.proxyInjector.keyPEM;
  }
  const createdBy = `linkerd/cli ${VERSION}`;
  return printDocuments(controlPlaneManifests({ namespace, values, overrides, webhook, createdBy }), format);
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
  credentials?: Credentials;
  webhook?: { certPem: string; keyPem: string };
  isDualStack?: boolean;
}

/** What an installation keeps, so that printing twice does not change the mesh's identity, and whether pods have IPv6. */
async function lookAtCluster(globals: GlobalOptions, namespace: string): Promise<Found> {
  const client = await connect(globals);
  try {
    const [pods, roots, issuer, webhook] = await Promise.all([
      client
        .request('GET', '/api/v1/nodes', {})
        .then((answer) => answer.json<{ items: { spec?: { podCIDRs?: string[] } }[] }>()),
      orAbsent(client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-identity-trust-roots', namespace)),
      orAbsent(client.get<Secret>(SECRETS, 'linkerd-identity-issuer', namespace)),
      orAbsent(client.get<Secret>(SECRETS, 'linkerd-proxy-injector-k8s-tls', namespace)),
    ]);
    const isDualStack =
      pods.items.some(({ spec }) => spec?.podCIDRs?.some((cidr) => cidr.includes(':'))) || (await hasIPv6Pods(client));
    const trustAnchorsPem = roots?.data?.['ca-bundle.crt'];
    const [issuerCertPem, issuerKeyPem] = [decoded(issuer, 'crt.pem'), decoded(issuer, 'key.pem')];
    const [certPem, keyPem] = [decoded(webhook, 'tls.crt'), decoded(webhook, 'tls.key')];
    return {
      isDualStack,
      ...(trustAnchorsPem && issuerCertPem && issuerKeyPem
        ? { credentials: { trustAnchorsPem, issuerCertPem, issuerKeyPem } }
        : {}),
      ...(certPem && keyPem ? { webhook: { certPem, keyPem } } : {}),
    };
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
