/**
 * The webhooks of the control plane: their Services, the Secrets of their certificates, and the configurations by which the API
 * server calls them. All are served by the one pod; names, rules and paths are Linkerd's.
 */
import type { KubeObject } from '@tulle/api';
import type { Values, WebhookValues } from '@tulle/control-plane/injector/values.ts';

/** What the control plane's pod listens on. */
export const PORTS = {
  identity: 8080,
  destination: 8086,
  policy: 8090,
  webhook: 8443,
  policyValidator: 9443,
  profileValidator: 8444,
  admin: 9990,
};

export interface WebhookCertificate {
  certPem: string;
  keyPem: string;
}

type WebhookKey = 'proxyInjector' | 'policyValidator' | 'profileValidator';

interface Webhook {
  key: WebhookKey;
  /** Of its Service; the certificate is in Secret `<name>-k8s-tls`. */
  name: string;
  /** Its label `linkerd.io/control-plane-component`. */
  component: string;
  portName: string;
  port: number;
  volume: string;
  mountPath: string;
  configuration: { kind: 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration'; name: string };
  rules: Rule[];
}

interface Rule {
  operations: string[];
  apiGroups: string[];
  apiVersions: string[];
  resources: string[];
  scope: string;
}

const WRITES = ['CREATE', 'UPDATE'];

export const WEBHOOKS: readonly Webhook[] = [
  {
    key: 'proxyInjector',
    name: 'linkerd-proxy-injector',
    component: 'proxy-injector',
    portName: 'proxy-injector',
    port: PORTS.webhook,
    volume: 'injector-tls',
    mountPath: '/var/run/linkerd/tls',
    configuration: { kind: 'MutatingWebhookConfiguration', name: 'linkerd-proxy-injector-webhook-config' },
    rules: [
      {
        operations: ['CREATE'],
        apiGroups: [''],
        apiVersions: ['v1'],
        resources: ['pods', 'services'],
        scope: 'Namespaced',
      },
    ],
  },
  {
    key: 'policyValidator',
    name: 'linkerd-policy-validator',
    component: 'destination',
    portName: 'policy-https',
    port: PORTS.policyValidator,
    volume: 'policy-tls',
    mountPath: '/var/run/linkerd/policy-validator-tls',
    configuration: { kind: 'ValidatingWebhookConfiguration', name: 'linkerd-policy-validator-webhook-config' },
    rules: [
      {
        operations: WRITES,
        apiGroups: ['policy.linkerd.io'],
        apiVersions: ['*'],
        resources: [
          'authorizationpolicies',
          'httplocalratelimitpolicies',
          'httproutes',
          'networkauthentications',
          'meshtlsauthentications',
          'serverauthorizations',
          'servers',
          'egressnetworks',
        ],
        scope: '*',
      },
      {
        operations: WRITES,
        apiGroups: ['gateway.networking.k8s.io'],
        apiVersions: ['*'],
        resources: ['httproutes', 'grpcroutes', 'tlsroutes', 'tcproutes'],
        scope: '*',
      },
    ],
  },
  {
    key: 'profileValidator',
    name: 'linkerd-sp-validator',
    component: 'destination',
    portName: 'sp-validator',
    port: PORTS.profileValidator,
    volume: 'sp-tls',
    mountPath: '/var/run/linkerd/sp-validator-tls',
    configuration: { kind: 'ValidatingWebhookConfiguration', name: 'linkerd-sp-validator-webhook-config' },
    rules: [
      {
        operations: WRITES,
        apiGroups: ['linkerd.io'],
        apiVersions: ['v1alpha1', 'v1alpha2'],
        resources: ['serviceprofiles'],
        scope: '*',
      },
    ],
  },
];

/** By the webhook's name; a certificate that the values give goes before one that was made. */
export type WebhookCertificates = Readonly<Record<string, WebhookCertificate>>;

export interface WebhookInput {
  namespace: string;
  values: Values;
  certificates: WebhookCertificates;
  createdBy: string;
}

export function webhookSecrets(input: WebhookInput, labels: Record<string, string>): KubeObject[] {
  const { namespace, values, createdBy } = input;
  return WEBHOOKS.filter(({ key }) => !values[key].externalSecret).map((webhook) => {
    const { certPem, keyPem } = certificateOf(webhook, input);
    return {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: `${webhook.name}-k8s-tls`,
        namespace,
        annotations: { 'linkerd.io/created-by': createdBy },
        labels: { ...labels, 'linkerd.io/control-plane-component': webhook.component },
      },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(certPem), 'tls.key': base64(keyPem) },
    };
  });
}

export function webhookConfigurations(input: WebhookInput, labels: Record<string, string>): KubeObject[] {
  const { namespace, values } = input;
  return WEBHOOKS.map((webhook) => {
    const { key, name, component, configuration, rules } = webhook;
    const { namespaceSelector, caBundle }: WebhookValues = values[key];
    const { objectSelector, timeoutSeconds } = values.proxyInjector;
    return {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: configuration.kind,
      metadata: {
        name: configuration.name,
        labels: { ...labels, 'linkerd.io/control-plane-component': component },
      },
      webhooks: [
        {
          name: `${name}.linkerd.io`,
          namespaceSelector,
          ...(key === 'proxyInjector' ? { objectSelector, timeoutSeconds } : {}),
          clientConfig: {
            service: { name, namespace, path: '/' },
            caBundle: base64(caBundle || certificateOf(webhook, input).certPem),
          },
          failurePolicy: values.webhookFailurePolicy,
          admissionReviewVersions: ['v1', 'v1beta1'],
          rules,
          sideEffects: 'None',
        },
      ],
    };
  });
}

function certificateOf({ key, name }: Webhook, { values, certificates }: WebhookInput): WebhookCertificate {
  const { crtPEM, keyPEM } = values[key];
  return crtPEM && keyPEM ? { certPem: crtPEM, keyPem: keyPEM } : certificates[name]!;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
