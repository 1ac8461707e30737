import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_ANNOTATIONS, overrideValues } from './annotations.ts';
import { defaultValues } from './values.ts';

test('every annotation overrides a value that there is', () => {
  for (const { key, path } of CONFIG_ANNOTATIONS) {
    const value = path.split('.').reduce((node: any, segment) => node?.[segment], defaultValues());
    assert.notEqual(value, undefined, `${key} → ${path}`);
  }
});

/** Suffix, good values, bad values. */
const table: [string, string[], string[]][] = [
  ['proxy-image', ['ghcr.io/x/proxy'], ['', 'a b']],
  ['image-pull-policy', ['Always', 'Never'], ['always']],
  ['inbound-port', ['1', '65535'], ['0', '65536', '4143x', '-1', '1.5']],
  ['skip-inbound-ports', ['80', '80,443', '8000-9000', ''], ['http', '9000-8000', '80;443']],
  [
    'skip-subnets',
    ['10.0.0.0/8', 'fd00::/8,10.0.0.0/8'],
    ['10.0.0.0', '10.0.0.0/33', 'x/8', 'fd00::/129', '300.0.0.0/8'],
  ],
  ['proxy-cpu-request', ['100m', '0.5', '2'], ['lots', '1 core', '-1']],
  ['proxy-memory-limit', ['20Mi', '1G', '1e9'], ['20MiB', '']],
  ['proxy-cpu-ratio-limit', ['0.5', '1'], ['0', '1.1', 'half']],
  ['proxy-log-level', ['warn', 'warn,linkerd=info,hickory=error', 'info,[{headers}]=off'], ['linkerd=loud', 'a b']],
  ['proxy-outbound-connect-timeout', ['500ms', '2s'], ['500', '1.5s', '-1s', 'soon']],
  ['default-inbound-policy', ['deny', 'cluster-authenticated', 'audit'], ['allow', '']],
  ['proxy-await', ['enabled', 'disabled'], ['true']],
  ['enable-debug-sidecar', ['true', 'false', 'T', '0'], ['yes', '']],
  ['access-log', ['apache', 'json', ''], ['text']],
  [
    'proxy-additional-env',
    ['[{"name":"A","value":"1"}]', '[]'],
    ['A=1', '{"name":"A"}', '[{"value":"1"}]', '[{"name":"A","value":1}]'],
  ],
];
for (const [suffix, good, bad] of table) {
  test(`config.linkerd.io/${suffix} takes good values and names bad ones`, () => {
    const problems = (value: string) =>
      overrideValues(defaultValues(), { [`config.linkerd.io/${suffix}`]: value }, {}).problems;
    for (const value of good) assert.deepEqual(problems(value), [], value);
    for (const value of bad) {
      assert.equal(problems(value).length, 1, JSON.stringify(value));
      assert.ok(problems(value)[0]!.includes(suffix));
    }
  });
}

test('a request above its limit is a problem', () => {
  const annotations = {
    'config.linkerd.io/proxy-memory-request': '1Gi',
    'config.linkerd.io/proxy-memory-limit': '512Mi',
  };
  assert.match(
    overrideValues(defaultValues(), annotations, {}).problems.join(),
    /memory request 1Gi is more than its limit 512Mi/,
  );
});

test('a CPU limit is also the most workers', () => {
  const { values } = overrideValues(defaultValues(), { 'config.linkerd.io/proxy-cpu-limit': '1500m' }, {});
  assert.equal(values.proxy.runtime.workers.maximum, 2);
});

test('the general key of the native sidecar wins over beta and alpha', () => {
  const annotations = {
    'config.linkerd.io/proxy-enable-native-sidecar': 'true',
    'config.beta.linkerd.io/proxy-enable-native-sidecar': 'false',
    'config.alpha.linkerd.io/proxy-enable-native-sidecar': 'false',
  };
  assert.equal(overrideValues(defaultValues(), annotations, {}).values.proxy.nativeSidecar, true);
});
