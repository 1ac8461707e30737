import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultValues } from '@tulle/control-plane/injector/values.ts';
import { type Document, parseAllDocuments, parseDocument } from 'yaml';
import { injectReport } from '../output/inject-report.ts';
import { printManifest } from './documents.ts';
import { type InjectSettings, injectObject } from './inject-manifest.ts';
import { uninjectObject } from './uninject-manifest.ts';
import { objectsIn } from './workload.ts';

function settings(isManual = false, annotations: Record<string, string> = {}): InjectSettings {
  return {
    values: { ...defaultValues(), identityTrustAnchorsPEM: 'root' },
    controlPlaneNamespace: 'linkerd',
    createdBy: 'linkerd/cli test',
    isManual,
    annotations: { 'linkerd.io/inject': 'enabled', ...annotations },
  };
}

const podSpec = '{ containers: [{ name: app, image: "a:1", ports: [{ containerPort: 80 }] }] }';
/** A workload of every kind, with the path of its pod template. */
const workloads: [kind: string, spec: string][] = [
  ['Deployment', `{ template: { spec: ${podSpec} } }`],
  ['ReplicaSet', `{ template: { spec: ${podSpec} } }`],
  ['ReplicationController', `{ template: { spec: ${podSpec} } }`],
  ['StatefulSet', `{ template: { spec: ${podSpec} } }`],
  ['DaemonSet', `{ template: { spec: ${podSpec} } }`],
  ['Job', `{ template: { spec: ${podSpec} } }`],
  ['CronJob', `{ jobTemplate: { spec: { template: { spec: ${podSpec} } } } }`],
  ['Pod', podSpec],
];

function inject(documents: Document[], how: InjectSettings) {
  return documents.flatMap((document) => objectsIn(document).map((object) => injectObject(object, how)));
}

for (const [kind, spec] of workloads) {
  test(`injects a ${kind} by hand, and takes it out again without a trace`, () => {
    const text = `apiVersion: v1\nkind: ${kind}\nmetadata: { name: web, namespace: shop }\nspec: ${spec}\n`;
    const document = parseDocument(text) as Document;
    assert.equal(inject([document], settings(true))[0]?.action, 'injected');
    const injected = String(document);
    for (const name of ['linkerd-init', 'linkerd-proxy', 'linkerd-identity-end-entity'])
      assert.ok(injected.includes(name), name);
    const [report] = objectsIn(document).map(uninjectObject);
    assert.equal(report?.action, 'uninjected');
    assert.deepEqual(document.toJS(), parseDocument(text).toJS());
  });
}

test('adds only annotations by default, and leaves comments and order alone', () => {
  const text = `# The shop
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web # of the shop
spec:
  template:
    metadata:
      annotations:
        a: b
    spec:
      # one container
      containers:
        - name: app
          image: "a:1"
`;
  const documents = parseAllDocuments(text) as Document[];
  inject(documents, settings(false, { 'config.linkerd.io/proxy-log-level': 'debug' }));
  const expected = text.replace(
    '        a: b\n',
    '        a: b\n        linkerd.io/inject: enabled\n        config.linkerd.io/proxy-log-level: debug\n',
  );
  assert.equal(printManifest(documents, 'yaml'), expected);
});

test('handles the items of a List, annotates Namespaces and, for opaque ports, Services', () => {
  const list = `
kind: List
items:
  - { kind: Namespace, metadata: { name: shop } }
  - { kind: Service, metadata: { name: db } }
  - { kind: ConfigMap, metadata: { name: x } }
  - { kind: Deployment, metadata: { name: web }, spec: { template: { spec: ${podSpec} } } }
`;
  const documents = parseAllDocuments(list) as Document[];
  const reports = inject(documents, settings(false, { 'config.linkerd.io/opaque-ports': '3306' }));
  assert.deepEqual(
    reports.map(({ action }) => action),
    ['annotated', 'annotated', 'skipped', 'injected'],
  );
  const { items } = documents[0]!.toJS();
  assert.equal(items[0].metadata.annotations['linkerd.io/inject'], 'enabled');
  assert.deepEqual(items[1].metadata.annotations, { 'config.linkerd.io/opaque-ports': '3306' });
  assert.equal(items[3].spec.template.metadata.annotations['linkerd.io/inject'], 'enabled');
});

test('reports what was done, and why not', () => {
  const text = `
kind: Deployment
metadata: { name: web }
spec: { template: { spec: ${podSpec} } }
---
kind: DaemonSet
metadata: { name: agent }
spec: { template: { spec: { hostNetwork: true, containers: [{ name: a }] } } }
---
kind: Deployment
metadata: { name: dns }
spec: { template: { spec: { containers: [{ name: a, ports: [{ containerPort: 53, protocol: UDP }] }] } } }
---
a: b
`;
  const reports = inject(parseAllDocuments(text) as Document[], settings());
  assert.equal(
    injectReport(reports, false),
    `
‼ "hostNetwork: true" detected in daemonset/agent
‼ deployment/dns uses "protocol: UDP"

deployment "web" injected
daemonset "agent" skipped
deployment "dns" injected
document missing "kind" field, skipped

`,
  );
});

test('a bad annotation is an error that names the object', () => {
  const document = parseDocument(`kind: Pod\nmetadata: { name: web }\nspec: ${podSpec}\n`) as Document;
  assert.throws(() => inject([document], settings(false, { 'config.linkerd.io/proxy-uid': 'root' })), {
    name: 'MeshError',
    message: /^inject pod "web": annotation config\.linkerd\.io\/proxy-uid="root": want a whole number/,
  });
});

test('uninject keeps the annotation that forbids injection, and configuration', () => {
  const document = parseDocument(`
kind: Deployment
metadata: { name: web }
spec:
  template:
    metadata: { annotations: { linkerd.io/inject: disabled, config.linkerd.io/proxy-uid: "1", linkerd.io/created-by: x } }
    spec: ${podSpec}
`) as Document;
  objectsIn(document).map(uninjectObject);
  assert.deepEqual(document.toJS().spec.template.metadata.annotations, {
    'linkerd.io/inject': 'disabled',
    'config.linkerd.io/proxy-uid': '1',
  });
});
