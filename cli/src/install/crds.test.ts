import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import type { Client } from '@tulle/client';
import {
  type CrdOptions,
  crdManifests,
  definitions,
  type GatewayState,
  gatewayState,
  MESH_CRDS,
  setOf,
} from './crds.ts';

const options: CrdOptions = {
  namespace: 'linkerd',
  createdBy: 'linkerd/cli test',
  hasSmi: false,
  installGatewayApi: undefined,
};
const bundle = {
  'gateway.networking.k8s.io/bundle-version': 'v1.4.0',
  'gateway.networking.k8s.io/channel': 'standard',
};
const names = (objects: KubeObject[]) => objects.map(({ metadata }) => metadata.name!);
const gatewayNames = names(definitions().filter((crd) => setOf(crd) === 'gateway'));

describe('definitions', () => {
  test('are one of each kind that the mesh reads, with one stored version', () => {
    const all = definitions();
    assert.deepEqual(new Set(names(all.filter((crd) => setOf(crd) === 'mesh'))), new Set(MESH_CRDS));
    for (const { metadata, spec } of all) {
      assert.equal(metadata.name, `${spec.names.plural}.${spec.group}`);
      assert.equal(spec.versions.filter(({ storage }: { storage: boolean }) => storage).length, 1, metadata.name);
      assert.deepEqual(spec.conversion, { strategy: 'None' });
      assert.equal(spec.scope, 'Namespaced');
    }
  });

  interface Expected {
    versions: string;
    stored: string;
    shortNames?: string[];
    categories?: string[];
    /** Of the stored version. */
    columns?: string;
    hasStatus?: boolean;
  }
  const linkerd: Record<string, Expected> = {
    'servers.policy.linkerd.io': {
      versions: 'v1alpha1 v1beta1 v1beta2 v1beta3',
      stored: 'v1beta3',
      shortNames: ['srv'],
      columns: 'Port, Protocol, Access Policy',
    },
    'serverauthorizations.policy.linkerd.io': {
      versions: 'v1alpha1 v1beta1',
      stored: 'v1beta1',
      shortNames: ['saz', 'serverauthz', 'srvauthz'],
      columns: 'Server',
    },
    'authorizationpolicies.policy.linkerd.io': {
      versions: 'v1alpha1',
      stored: 'v1alpha1',
      shortNames: ['authzpolicy'],
    },
    'meshtlsauthentications.policy.linkerd.io': {
      versions: 'v1alpha1',
      stored: 'v1alpha1',
      shortNames: ['meshtlsauthn'],
    },
    'networkauthentications.policy.linkerd.io': {
      versions: 'v1alpha1',
      stored: 'v1alpha1',
      shortNames: ['netauthn', 'networkauthn'],
    },
    'httplocalratelimitpolicies.policy.linkerd.io': {
      versions: 'v1alpha1',
      stored: 'v1alpha1',
      columns: 'Target_kind, Target_name, Total_RPS, Identity_RPS',
      hasStatus: true,
    },
    'egressnetworks.policy.linkerd.io': {
      versions: 'v1alpha1',
      stored: 'v1alpha1',
      categories: ['policy'],
      hasStatus: true,
    },
    'httproutes.policy.linkerd.io': {
      versions: 'v1alpha1 v1beta1 v1beta2 v1beta3',
      stored: 'v1beta3',
      columns: 'Hostnames, Age',
      hasStatus: true,
    },
    'serviceprofiles.linkerd.io': { versions: 'v1alpha1 v1alpha2', stored: 'v1alpha2', shortNames: ['sp'] },
    'externalworkloads.workload.linkerd.io': {
      versions: 'v1alpha1 v1beta1',
      stored: 'v1beta1',
      categories: ['external'],
      columns: 'Identity, Age',
      hasStatus: true,
    },
  };
  for (const [name, { versions, stored, shortNames, categories, columns, hasStatus = false }] of Object.entries(
    linkerd,
  )) {
    test(`${name} has Linkerd's versions, names, columns and status`, () => {
      const { spec } = definitions().find(({ metadata }) => metadata.name === name)!;
      const served = spec.versions as { name: string; served: boolean; storage: boolean }[];
      assert.equal(served.map((version) => version.name).join(' '), versions);
      assert.ok(served.every((version) => version.served));
      assert.deepEqual([spec.names.shortNames, spec.names.categories], [shortNames, categories]);
      const version = spec.versions.find(({ storage }: { storage: boolean }) => storage);
      const titles = version.additionalPrinterColumns?.map((column: { name: string }) => column.name);
      assert.deepEqual([version.name, titles?.join(', ')], [stored, columns]);
      assert.equal(version.subresources?.status !== undefined, hasStatus);
    });
  }
});

describe('what is printed', () => {
  test('has our label, and the Gateway API where the cluster lacks it', () => {
    const { objects } = crdManifests(options, { kind: 'absent' });
    assert.deepEqual(new Set(names(objects)), new Set([...MESH_CRDS, ...gatewayNames]));
    for (const { metadata } of objects) {
      assert.equal(metadata.labels?.['linkerd.io/control-plane-ns'], 'linkerd');
      assert.equal(metadata.annotations?.['linkerd.io/created-by'], 'linkerd/cli test');
    }
  });

  test('has the Gateway API again where it is ours, so that applying it is an upgrade', () => {
    const { objects } = crdManifests(options, { kind: 'ours' });
    assert.ok(gatewayNames.every((name) => names(objects).includes(name)));
  });

  test('leaves what is not ours as it is, and adds what is missing', () => {
    const theirs = new Set(['httproutes.gateway.networking.k8s.io', 'grpcroutes.gateway.networking.k8s.io']);
    const state: GatewayState = { kind: 'external', names: theirs, version: 'v1.4.0 standard', bundle };
    const { objects, notes } = crdManifests(options, state);
    assert.match(
      notes[0]!,
      /\(v1\.4\.0 standard\) is left as it is; what it lacks is added: referencegrants, tcproutes/,
    );
    assert.deepEqual(
      names(objects).filter((name) => gatewayNames.includes(name)),
      gatewayNames.filter((name) => !theirs.has(name)),
    );
    const added = objects.find(({ metadata }) => metadata.name === 'tcproutes.gateway.networking.k8s.io')!;
    const annotations = Object.entries(added.metadata.annotations!);
    assert.deepEqual(Object.fromEntries(annotations.filter(([name]) => name in bundle)), bundle, 'one bundle');
  });

  test('has the Service Mesh Interface on demand', () => {
    const { objects } = crdManifests({ ...options, hasSmi: true }, { kind: 'absent' });
    assert.deepEqual(
      names(objects).filter((name) => name.endsWith('.smi-spec.io')),
      [
        'httproutegroups.specs.smi-spec.io',
        'tcproutes.specs.smi-spec.io',
        'trafficsplits.split.smi-spec.io',
        'traffictargets.access.smi-spec.io',
      ],
    );
  });

  const external: GatewayState = { kind: 'external', names: new Set(gatewayNames), version: 'v1.4.0 standard' };
  test('is refused where the setting would take somebody’s routes away', () => {
    const wanted = (installGatewayApi: boolean, state: GatewayState) => () =>
      crdManifests({ ...options, installGatewayApi }, state);
    assert.throws(wanted(true, external), /the cluster has it from somebody else \(v1\.4\.0 standard\)/);
    assert.throws(wanted(false, { kind: 'ours' }), /would take it and all its routes away/);
    assert.throws(wanted(false, { kind: 'absent' }), /the cluster lacks it; apply it first/);
    assert.deepEqual(wanted(false, external)().notes, []);
    assert.deepEqual(names(wanted(false, { kind: 'unknown' })().objects), names(wanted(false, external)().objects));
  });
});

test('whose the Gateway API is, is read from the definitions', async () => {
  const stateOf = (...items: object[]) => gatewayState({ list: async () => ({ items }) } as unknown as Client);
  const crd = (name: string, metadata: object = {}) => ({ metadata: { name, ...metadata } });
  const ours = crd(gatewayNames[0]!, { labels: { 'linkerd.io/control-plane-ns': 'linkerd' } });
  assert.deepEqual(await stateOf(crd('gateways.gateway.networking.k8s.io')), { kind: 'absent' });
  assert.deepEqual(await stateOf(ours), { kind: 'ours' });
  assert.deepEqual(await stateOf(ours, crd(gatewayNames[1]!, { annotations: bundle })), {
    kind: 'external',
    names: new Set([gatewayNames[1]]),
    version: 'v1.4.0 standard',
    bundle,
  });
});
