/** Every object of a control plane, in the order in which they are to be applied. */
import type { KubeObject } from '@tulle/api';
import type { Values } from '@tulle/control-plane/injector/values.ts';
import type { ValuesLayer } from '@tulle/control-plane/injector/values-layers.ts';
import { stringify } from 'yaml';
import { controlPlaneDeployment, PORTS } from './control-plane-pod.ts';
import { rbacObjects } from './rbac.ts';

export interface ManifestInput {
  namespace: string;
  /** Complete: with trust anchors, and with the issuer unless its Secret is made by others. */
  values: Values;
  /** What the user changed of the defaults. */
  overrides: ValuesLayer;
  webhook: { certPem: string; keyPem: string };
  createdBy: string;
}

export function controlPlaneManifests(input: ManifestInput): KubeObject[] {
  const { namespace, values } = input;
  const labels = { 'linkerd.io/control-plane-ns': namespace, ...values.commonLabels };
  const context = { namespace, labels, createdBy: input.createdBy };
  return [
    namespaceObject(namespace, labels),
    ...rbacObjects(namespace, labels),
    ...configObjects(input, labels),
    ...serviceObjects(namespace, labels, input.createdBy),
    ...(values.enablePodDisruptionBudget ? [disruptionBudget(namespace, labels)] : []),
    controlPlaneDeployment(values, context),
    webhookConfiguration(input, labels),
  ];
}

const namespaceObject = (name: string, labels: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name,
    annotations: { 'linkerd.io/inject': 'disabled' },
    labels: {
      ...labels,
      'linkerd.io/is-control-plane': 'true',
      'config.linkerd.io/admission-webhooks': 'disabled',
      'pod-security.kubernetes.io/enforce': 'privileged',
    },
  },
});

function configObjects(input: ManifestInput, labels: Record<string, string>): KubeObject[] {
  const { namespace, values, webhook } = input;
  const annotations = { 'linkerd.io/created-by': input.createdBy };
  const meta = (name: string, component: string) => ({
    name,
    namespace,
    annotations,
    labels: { ...labels, 'linkerd.io/control-plane-component': component },
  });
  const publicValues = structuredClone(values);
  publicValues.identity.issuer.tls = { crtPEM: values.identity.issuer.tls.crtPEM, keyPEM: '' };
  publicValues.proxyInjector = { ...publicValues.proxyInjector, keyPEM: '' };
  const isOwnIssuer = values.identity.issuer.scheme === 'linkerd.io/tls' && values.identity.issuer.tls.keyPEM !== '';
  return [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: meta('linkerd-config', 'controller'),
      data: { values: stringify(publicValues) },
    },
    ...(values.identity.externalCA
      ? []
      : [
          {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: meta('linkerd-identity-trust-roots', 'identity'),
            data: { 'ca-bundle.crt': values.identityTrustAnchorsPEM },
          },
        ]),
    ...(isOwnIssuer
      ? [
          {
            apiVersion: 'v1',
            kind: 'Secret',
            metadata: meta('linkerd-identity-issuer', 'identity'),
            type: 'Opaque',
            data: {
              'crt.pem': base64(values.identity.issuer.tls.crtPEM),
              'key.pem': base64(values.identity.issuer.tls.keyPEM),
            },
          },
        ]
      : []),
    ...(values.proxyInjector.externalSecret
      ? []
      : [
          {
            apiVersion: 'v1',
            kind: 'Secret',
            metadata: meta('linkerd-proxy-injector-k8s-tls', 'proxy-injector'),
            type: 'kubernetes.io/tls',
            data: { 'tls.crt': base64(webhook.certPem), 'tls.key': base64(webhook.keyPem) },
          },
        ]),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: meta('linkerd-config-overrides', 'controller'),
      type: 'Opaque',
      data: { 'linkerd-config-overrides': base64(stringify(input.overrides)) },
    },
  ];
}

function serviceObjects(namespace: string, labels: Record<string, string>, createdBy: string): KubeObject[] {
  const selector = { 'linkerd.io/control-plane-component': 'destination' };
  const service = (
    name: string,
    component: string,
    port: { name: string; port: number; targetPort: number },
    { isHeadless = false, annotations = {} }: { isHeadless?: boolean; annotations?: Record<string, string> } = {},
  ): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      annotations: { 'linkerd.io/created-by': createdBy, ...annotations },
      labels: { ...labels, 'linkerd.io/control-plane-component': component },
    },
    spec: { ...(isHeadless ? { clusterIP: 'None' } : {}), type: 'ClusterIP', selector, ports: [port] },
  });
  const grpc = (port: number) => ({ name: 'grpc', port, targetPort: port });
  return [
    service('linkerd-dst', 'destination', grpc(PORTS.destination)),
    service('linkerd-dst-headless', 'destination', grpc(PORTS.destination), { isHeadless: true }),
    service('linkerd-policy', 'destination', grpc(PORTS.policy), { isHeadless: true }),
    service('linkerd-identity', 'identity', grpc(PORTS.identity)),
    service('linkerd-identity-headless', 'identity', grpc(PORTS.identity), { isHeadless: true }),
    service(
      'linkerd-proxy-injector',
      'proxy-injector',
      { name: 'proxy-injector', port: 443, targetPort: PORTS.webhook },
      { annotations: { 'config.linkerd.io/opaque-ports': '443' } },
    ),
  ];
}

const disruptionBudget = (namespace: string, labels: Record<string, string>): KubeObject => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: {
    name: 'linkerd-dst',
    namespace,
    labels: { ...labels, 'linkerd.io/control-plane-component': 'destination' },
  },
  spec: {
    maxUnavailable: 1,
    selector: { matchLabels: { 'linkerd.io/control-plane-component': 'destination' } },
  },
});

function webhookConfiguration(input: ManifestInput, labels: Record<string, string>): KubeObject {
  const { namespace, values, webhook } = input;
  const { proxyInjector } = values;
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: {
      name: 'linkerd-proxy-injector-webhook-config',
      labels: { ...labels, 'linkerd.io/control-plane-component': 'proxy-injector' },
    },
    webhooks: [
      {
        name: 'linkerd-proxy-injector.linkerd.io',
        namespaceSelector: proxyInjector.namespaceSelector,
        objectSelector: proxyInjector.objectSelector,
        clientConfig: {
          service: { name: 'linkerd-proxy-injector', namespace, path: '/' },
          caBundle: base64(proxyInjector.caBundle || webhook.certPem),
        },
        failurePolicy: values.webhookFailurePolicy,
        admissionReviewVersions: ['v1', 'v1beta1'],
        rules: [
          {
            operations: ['CREATE'],
            apiGroups: [''],
            apiVersions: ['v1'],
            resources: ['pods', 'services'],
            scope: 'Namespaced',
          },
        ],
        sideEffects: 'None',
        timeoutSeconds: proxyInjector.timeoutSeconds,
      },
    ],
  };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
