import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import type { KubeObject, PodSpec } from '@tulle/api';
import { parseConfig } from '@tulle/control-plane/config.ts';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';
import { credentialProblems, isSignedBy } from './certificate-chain.ts';
import { createIdentityCredentials, createWebhookCertificate } from './certificates.ts';
import { INSTALL_FLAGS, valuesFrom } from './install-values.ts';
import { controlPlaneManifests } from './manifests.ts';
import { WEBHOOKS } from './webhooks.ts';

const credentials = await createIdentityCredentials('linkerd', 'cluster.local');
const certificates = Object.fromEntries(
  await Promise.all(WEBHOOKS.map(async ({ name }) => [name, await createWebhookCertificate(name, 'linkerd')])),
);

function manifests(options: Record<string, unknown> = {}): KubeObject[] {
  const { values, overrides } = valuesFrom(options, INSTALL_FLAGS);
  values.identityTrustAnchorsPEM = credentials.trustAnchorsPem;
  values.identity.issuer.tls = { crtPEM: credentials.issuerCertPem, keyPEM: credentials.issuerKeyPem };
  return controlPlaneManifests({
    namespace: 'linkerd',
    values,
    overrides,
    certificates,
    createdBy: 'linkerd/cli test',
  });
}

const find = (objects: KubeObject[], kind: string, name: string) =>
  objects.find((object) => object.kind === kind && object.metadata.name === name)!;
const podOf = (objects: KubeObject[]): PodSpec => find(objects, 'Deployment', 'linkerd-destination').spec.template.spec;
const decode = (text: string) => Buffer.from(text, 'base64').toString();

describe('certificates', () => {
  test('the issuer is for its name, below a trust anchor that outlives it, and for a mesh of ten years', () => {
    assert.deepEqual(credentialProblems(credentials, 'linkerd', 'cluster.local'), []);
    const issuer = new X509Certificate(credentials.issuerCertPem);
    const anchor = new X509Certificate(credentials.trustAnchorsPem);
    assert.ok(isSignedBy(issuer, anchor));
    assert.equal(anchor.subject, 'CN=root.linkerd.cluster.local');
    assert.equal(issuer.checkHost('identity.linkerd.cluster.local'), 'identity.linkerd.cluster.local');
    assert.ok(issuer.validToDate.getTime() - Date.now() > 9.9 * 365 * 86_400_000);
  });

  test('certificates that cannot work are refused, with every reason', async () => {
    const other = await createIdentityCredentials('linkerd', 'example.org');
    const mixed = { ...other, trustAnchorsPem: credentials.trustAnchorsPem, issuerKeyPem: credentials.issuerKeyPem };
    assert.deepEqual(credentialProblems(mixed, 'linkerd', 'cluster.local'), [
      'issuer key: is not the key of the issuer certificate',
      'issuer certificate: is not for identity.linkerd.cluster.local',
      'issuer certificate: is not signed by one of the trust anchors',
    ]);
    const broken = { trustAnchorsPem: '', issuerCertPem: 'x', issuerKeyPem: 'y' };
    assert.equal(credentialProblems(broken, 'linkerd', 'cluster.local').length, 3);
  });
});

describe('manifests', () => {
  test('have the names that proxies, peers and users know', () => {
    const names = manifests().map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    for (const name of [
      'Namespace/linkerd',
      'ServiceAccount/linkerd-identity',
      'ServiceAccount/linkerd-destination',
      'ServiceAccount/linkerd-proxy-injector',
      'ClusterRole/linkerd-linkerd-identity',
      'ClusterRole/linkerd-linkerd-proxy-injector',
      'ClusterRole/linkerd-policy',
      'ConfigMap/linkerd-config',
      'ConfigMap/linkerd-identity-trust-roots',
      'Secret/linkerd-identity-issuer',
      'Secret/linkerd-proxy-injector-k8s-tls',
      'Secret/linkerd-policy-validator-k8s-tls',
      'Secret/linkerd-sp-validator-k8s-tls',
      'Secret/linkerd-config-overrides',
      'Service/linkerd-dst',
      'Service/linkerd-dst-headless',
      'Service/linkerd-policy',
      'Service/linkerd-identity',
      'Service/linkerd-identity-headless',
      'Service/linkerd-proxy-injector',
      'Service/linkerd-policy-validator',
      'Service/linkerd-sp-validator',
      'Deployment/linkerd-destination',
      'MutatingWebhookConfiguration/linkerd-proxy-injector-webhook-config',
      'ValidatingWebhookConfiguration/linkerd-policy-validator-webhook-config',
      'ValidatingWebhookConfiguration/linkerd-sp-validator-webhook-config',
    ]) {
      assert.ok(names.includes(name), name);
    }
  });

  test('the control plane runs with the flags it is given', () => {
    const [controlPlane] = podOf(manifests()).containers;
    const config = parseConfig(controlPlane!.args!, {});
    assert.equal(config.controllerNamespace, 'linkerd');
    assert.equal(config.isIpv6Enabled, false);
    const ports = controlPlane!.ports!.map(({ containerPort }) => containerPort);
    for (const address of [
      config.identityAddress,
      config.destinationAddress,
      config.policyAddress,
      config.injectorAddress,
      config.policyValidatorAddress,
      config.spValidatorAddress,
      config.adminAddress,
    ]) {
      assert.ok(ports.includes(Number(address.split(':').at(-1))), address);
    }
    const mounts = controlPlane!.volumeMounts!.map(({ mountPath }) => mountPath);
    for (const path of [config.injectorTlsPath, config.policyValidatorTlsPath, config.spValidatorTlsPath])
      assert.ok(mounts.includes(path), path);
  });

  test('values of policy reach the control plane', () => {
    const options = {
      enableSmi: true,
      disableH2Upgrade: true,
      set: [
        'policyController.probeNetworks=[10.0.0.0/8]',
        'policyController.additionalArgs=[--allow-l5d-request-headers]',
        'egress.globalEgressNetworkNamespace=egress,proxy.outboundTransportMode=transparent',
      ],
    };
    const [controlPlane] = podOf(manifests(options)).containers;
    const config = parseConfig(controlPlane!.args!, {});
    assert.deepEqual(
      [config.isSmiEnabled, config.isH2UpgradeEnabled, config.allowsL5dRequestHeaders, config.probeNetworks.length],
      [true, false, true, 1],
    );
    assert.equal(config.globalEgressNetworkNamespace, 'egress');
  });

  test('the control plane is meshed by a classic sidecar that asks on loopback', () => {
    const { containers, initContainers = [] } = podOf(manifests());
    assert.deepEqual(
      containers.map(({ name }) => name),
      ['control-plane', 'linkerd-proxy'],
    );
    const proxy = containers[1]!;
    assert.equal(proxy.restartPolicy, undefined);
    const env = (name: string) => proxy.env!.find((variable) => variable.name === `LINKERD2_PROXY_${name}`)!;
    assert.equal(env('DESTINATION_SVC_ADDR').value, 'localhost.:8086');
    assert.equal(env('POLICY_SVC_ADDR').value, 'localhost.:8090');
    assert.equal(env('IDENTITY_SVC_ADDR').value, 'localhost.:8080');
    assert.equal(env('IDENTITY_TRUST_ANCHORS').valueFrom?.configMapKeyRef?.name, 'linkerd-identity-trust-roots');
    const { args = [] } = initContainers[0]!;
    assert.equal(args[args.indexOf('--outbound-ports-to-ignore') + 1], '443,6443');
  });

  test('every webhook is called at its own port, and trusted by the certificate that it shows', () => {
    const objects = manifests();
    for (const { name, port, configuration } of WEBHOOKS) {
      const secret = find(objects, 'Secret', `${name}-k8s-tls`);
      const [hook] = find(objects, configuration.kind, configuration.name).webhooks;
      const certificate = new X509Certificate(decode(secret.data['tls.crt']));
      assert.ok(isSignedBy(certificate, new X509Certificate(decode(hook.clientConfig.caBundle))));
      assert.ok(certificate.checkHost(`${name}.linkerd.svc`));
      assert.deepEqual(hook.clientConfig.service, { name, namespace: 'linkerd', path: '/' });
      assert.deepEqual([hook.name, hook.failurePolicy], [`${name}.linkerd.io`, 'Ignore']);
      const { ports } = find(objects, 'Service', name).spec;
      assert.deepEqual([ports[0].port, ports[0].targetPort], [443, port]);
      const { annotations } = find(objects, 'Deployment', 'linkerd-destination').spec.template.metadata;
      assert.ok(annotations['config.linkerd.io/opaque-ports'].split(',').includes(String(port)));
    }
  });

  test('a certificate that the values give is used, and another CA where one is named', () => {
    const given = certificates['linkerd-proxy-injector']!;
    const values = { policyValidator: { crtPEM: given.certPem, keyPEM: given.keyPem, caBundle: 'other' } };
    const objects = manifests({
      set: [`policyValidator=${JSON.stringify(values.policyValidator).replaceAll(',', '\\,')}`],
    });
    const secret = find(objects, 'Secret', 'linkerd-policy-validator-k8s-tls');
    assert.equal(decode(secret.data['tls.key']), given.keyPem);
    const [hook] = find(objects, 'ValidatingWebhookConfiguration', 'linkerd-policy-validator-webhook-config').webhooks;
    assert.equal(decode(hook.clientConfig.caBundle), 'other');
    assert.doesNotMatch(find(objects, 'ConfigMap', 'linkerd-config').data.values, /PRIVATE KEY/);
  });

  test('the values that the injector reads are complete, and without a private key', () => {
    const config = find(manifests({ proxyLogLevel: 'debug' }), 'ConfigMap', 'linkerd-config');
    assert.doesNotMatch(config.data.values, /PRIVATE KEY/);
    const values = parseValues(config.data.values);
    assert.equal(values.identityTrustAnchorsPEM, credentials.trustAnchorsPem);
    assert.equal(values.proxy.logLevel, 'debug');
  });

  test('high availability has replicas apart from each other, a budget and a strict webhook', () => {
    const objects = manifests({ ha: true });
    const { spec } = find(objects, 'Deployment', 'linkerd-destination');
    assert.equal(spec.replicas, 3);
    assert.deepEqual(spec.strategy.rollingUpdate, { maxSurge: '25%', maxUnavailable: 1 });
    assert.ok(podOf(objects).affinity?.podAntiAffinity);
    assert.ok(find(objects, 'PodDisruptionBudget', 'linkerd-dst'));
    for (const { configuration } of WEBHOOKS)
      assert.equal(find(objects, configuration.kind, configuration.name).webhooks[0].failurePolicy, 'Fail');
  });

  test('what the user has changed is kept for later', () => {
    const secret = find(
      manifests({ set: ['proxy.logLevel=debug,proxyInit.runAsRoot=true'] }),
      'Secret',
      'linkerd-config-overrides',
    );
    assert.equal(
      decode(secret.data['linkerd-config-overrides']),
      'proxy:\n  logLevel: debug\nproxyInit:\n  runAsRoot: true\n',
    );
  });
});

test('values that are wrong are all named', () => {
  assert.throws(
    () => valuesFrom({ set: ['proxy.nonsense=1', 'proxy.logFormat=xml'], proxyCpuLimit: 'lots' }, INSTALL_FLAGS),
    ({ message }: Error) =>
      message.includes('proxy.nonsense: there is no such value') &&
      message.includes('proxy.logFormat="xml": want one of plain, json') &&
      message.includes('proxy.resources.cpu.limit="lots": want a quantity'),
  );
});

test('--set takes escaped commas, dots and lists', () => {
  const set = [
    'clusterNetworks=10.0.0.0/8\\,fd00::/8',
    'nodeSelector.example\\.com/zone=a',
    'tolerations=[{operator: Exists}]',
  ];
  const { values } = valuesFrom({ set }, INSTALL_FLAGS);
  assert.equal(values.clusterNetworks, '10.0.0.0/8,fd00::/8');
  assert.equal(values.nodeSelector['example.com/zone'], 'a');
  assert.deepEqual(values.tolerations, [{ operator: 'Exists' }]);
});
