import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '../kubernetes.ts';
import { selectorMatches } from '../label-selector.ts';
import { parseServer } from './server.ts';

function object(spec: unknown, version = 'v1beta3'): KubeObject {
  return {
    apiVersion: `policy.linkerd.io/${version}`,
    kind: 'Server',
    metadata: {
      name: 'emoji-grpc',
      namespace: 'emojivoto',
      labels: { 'app-kind': 'internal' },
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec,
  };
}

const POD = { podSelector: { matchLabels: { app: 'emoji' } }, port: 'grpc' };

test('reads a Server of every version', () => {
  for (const version of ['v1alpha1', 'v1beta1', 'v1beta2', 'v1beta3']) {
    const { workloads, ...rest } = parseServer(object({ ...POD, proxyProtocol: 'gRPC' }, version));
    assert.deepEqual(rest, {
      ref: {
        group: 'policy.linkerd.io',
        kind: 'Server',
        namespace: 'emojivoto',
        name: 'emoji-grpc',
        createdAtMs: 1767225600000,
      },
      labels: { 'app-kind': 'internal' },
      port: 'grpc',
      protocol: 'grpc',
      accessPolicy: 'deny',
    });
    assert.equal(workloads.kind, 'Pod');
    assert.ok(selectorMatches(workloads.selector, { app: 'emoji', tier: 'x' }));
    assert.ok(!selectorMatches(workloads.selector, { app: 'web' }));
  }
  const external = parseServer(object({ externalWorkloadSelector: {}, port: 80, accessPolicy: 'audit' }));
  assert.equal(external.workloads.kind, 'ExternalWorkload');
  assert.ok(selectorMatches(external.workloads.selector, {}));
  assert.deepEqual([external.port, external.protocol, external.accessPolicy], [80, 'detect', 'audit']);
});

test('reads every protocol and access policy', () => {
  const protocols = {
    unknown: 'detect',
    'HTTP/1': 'http1',
    'HTTP/2': 'http2',
    gRPC: 'grpc',
    opaque: 'opaque',
    TLS: 'tls',
  };
  for (const [proxyProtocol, expected] of Object.entries(protocols)) {
    assert.equal(parseServer(object({ ...POD, proxyProtocol })).protocol, expected);
  }
  for (const accessPolicy of [
    'deny',
    'audit',
    'all-unauthenticated',
    'all-authenticated',
    'cluster-unauthenticated',
    'cluster-authenticated',
  ]) {
    assert.equal(parseServer(object({ ...POD, accessPolicy })).accessPolicy, accessPolicy);
  }
});

test('selects by each operator', () => {
  const matches = (matchExpressions: object[], labels: Record<string, string>) =>
    selectorMatches(parseServer(object({ podSelector: { matchExpressions }, port: 1 })).workloads.selector, labels);
  assert.ok(matches([{ key: 'a', operator: 'In', values: ['1', '2'] }], { a: '2' }));
  assert.ok(!matches([{ key: 'a', operator: 'In', values: ['1', '2'] }], { a: '3' }));
  assert.ok(matches([{ key: 'a', operator: 'NotIn', values: ['1'] }], {}));
  assert.ok(!matches([{ key: 'a', operator: 'NotIn', values: ['1'] }], { a: '1' }));
  assert.ok(matches([{ key: 'a', operator: 'Exists' }], { a: '' }));
  assert.ok(!matches([{ key: 'toString', operator: 'Exists' }], {}));
  assert.ok(matches([{ key: 'a', operator: 'DoesNotExist' }], { b: '1' }));
  assert.ok(
    !matches(
      [
        { key: 'a', operator: 'Exists' },
        { key: 'b', operator: 'Exists' },
      ],
      { a: '1' },
    ),
  );
});

test('says of what it cannot read where it is, what was found and what is allowed', () => {
  const refused: [unknown, string][] = [
    [{ ...POD, port: 0 }, "spec.port: found 0, allowed is 1 to 65535 or a port's name"],
    [{ ...POD, port: '8080' }, `spec.port: found "8080", allowed is 1 to 65535 or a port's name`],
    [{ podSelector: {} }, "spec.port: found nothing, allowed is 1 to 65535 or a port's name"],
    [{ port: 1 }, 'spec.podSelector: found nothing, allowed is one of podSelector and externalWorkloadSelector'],
    [
      { ...POD, externalWorkloadSelector: {} },
      'spec.externalWorkloadSelector: found {}, allowed is one of podSelector and externalWorkloadSelector',
    ],
    [
      { ...POD, proxyProtocol: 'http' },
      'spec.proxyProtocol: found "http", allowed is one of unknown, HTTP/1, HTTP/2, gRPC, opaque, TLS',
    ],
    [
      { ...POD, accessPolicy: 'all' },
      'spec.accessPolicy: found "all", allowed is one of all-unauthenticated, all-authenticated, cluster-unauthenticated, cluster-authenticated, deny, audit',
    ],
    [{ port: 1, podSelector: 'app' }, 'spec.podSelector: found "app", allowed is a label selector'],
    [
      { port: 1, podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
      'spec.podSelector.matchExpressions[0].values: found nothing, allowed is a list of values for In',
    ],
  ];
  for (const [spec, message] of refused) {
    assert.throws(() => parseServer(object(spec)), { code: 'INVALID_ARGUMENT', message });
  }
  assert.throws(() => parseServer(object(undefined)), /spec\.podSelector: .*; spec\.port: found nothing/);
});
