/** Every object of a control plane, in the order in which they are to be applied. */
import type { KubeObject } from '@tulle/api';
import type { Values } from '@tulle/control-plane/injector/values.ts';
import type { ValuesLayer } from '@tulle/control-plane/injector/values-layers.ts';
import { stringify } from 'yaml';
import { controlPlaneDeployment } from './control-plane-pod.ts';
import { rbacObjects } from './rbac.ts';
import { PORTS, WEBHOOKS, type WebhookCertificates, webhookConfigurations, webhookSecrets } from './webhooks.ts';

export interface ManifestInput {
  namespace: string;
  /** Complete: with trust anchors, and with the issuer unless its Secret is made by others. */
  values: Values;
  /** What the user changed of the defaults. */
  overrides: ValuesLayer;
  certificates: WebhookCertificates;
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
    ...webhookConfigurations(input, labels),
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
  const { namespace, values } = input;
  const annotations = { 'linkerd.io/created-by': input.createdBy };
  const meta = (name: string, component: string) => ({
    name,
    namespace,
    annotations,
    labels: { ...labels, 'linkerd.io/control-plane-component': component },
  });
  const publicValues = structuredClone(values);
  publicValues.identity.issuer.tls = { crtPEM: values.identity.issuer.tls.crtPEM, keyPEM: '' };
  for (const { key } of WEBHOOKS) publicValues[key].keyPEM = '';
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
    ...webhookSecrets(input, labels),
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
    ...WEBHOOKS.map(({ name, component, portName, port }) =>
      service(
        name,
        component,
        { name: portName, port: 443, targetPort: port },
        { annotations: { 'config.linkerd.io/opaque-ports': '443' } },
      ),
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

const base64 = (text: string): string => Buffer.from(text).toString('base64');
