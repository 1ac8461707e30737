import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  HTTP_ROUTES,
  type Kind,
  type KubeObject,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SERVICE_PROFILES,
} from '@tulle/api';
import type { Client } from '@tulle/client';
import { definitions } from '../install/crds.ts';
import { type Category, runChecks } from './check.ts';
import { CheckContext } from './context.ts';
import { authorizesNobody, gatewayApiCrd, linkerdCrd, tullePolicy, whyNotInForce } from './definitions.ts';

async function outcome(category: Category, crds: KubeObject[], authorizations: KubeObject[] = []): Promise<string[]> {
  const list = async (kind: Kind) => {
    if (kind === CUSTOM_RESOURCE_DEFINITIONS) return { items: crds };
    return { items: kind === SERVER_AUTHORIZATIONS ? authorizations : [] };
  };
  const client = { list, close: () => undefined } as unknown as Client;
  const context = new CheckContext({ controlPlaneNamespace: 'linkerd' }, async () => client);
  const [result] = await runChecks([category], context, 0);
  return (result?.checks ?? []).map(({ result: verdict, error }) => (error ? `${verdict}: ${error}` : verdict));
}

const without = (name: string) => definitions().filter(({ metadata }) => metadata.name !== name);

test('the Gateway API must serve v1, and may be absent before an installation', async () => {
  const strict = gatewayApiCrd({ mayBeAbsent: false });
  const before = gatewayApiCrd({ mayBeAbsent: true });
  assert.deepEqual(await outcome(strict, definitions()), ['success']);
  assert.match(
    (await outcome(strict, []))[0]!,
    /^error: .*tulle install --crds.*\n\* httproutes.*missing\n\* grpcroutes/,
  );
  assert.deepEqual(await outcome(before, []), []);
  const old = definitions();
  for (const { metadata, spec } of old)
    if (metadata.name === 'httproutes.gateway.networking.k8s.io') spec.versions[0].served = false;
  for (const category of [strict, before])
    assert.match(
      (await outcome(category, old))[0]!,
      /httproutes\.gateway\.networking\.k8s\.io does not serve version v1/,
    );
});

test('a definition that is missing or does not serve a version is named', async () => {
  assert.deepEqual(await outcome(linkerdCrd, definitions()), ['success']);
  assert.match(
    (await outcome(linkerdCrd, without('servers.policy.linkerd.io')))[0]!,
    /\* servers\.policy\.linkerd\.io is missing/,
  );
  const old = definitions();
  for (const { metadata, spec } of old) if (metadata.name === 'servers.policy.linkerd.io') spec.versions.pop();
  assert.match((await outcome(linkerdCrd, old))[0]!, /\* servers\.policy\.linkerd\.io does not serve v1beta3/);
});

test('a foreign definition that drops the service accounts is said, with what to do', async () => {
  assert.deepEqual(await outcome(tullePolicy, definitions()), ['success', 'success', 'success']);
  const foreign = definitions();
  for (const { metadata, spec } of foreign) {
    if (metadata.name !== 'serverauthorizations.policy.linkerd.io') continue;
    for (const { schema } of spec.versions) {
      const { client } = schema.openAPIV3Schema.properties.spec.properties;
      delete client.properties.serviceAccounts;
      delete client['x-kubernetes-preserve-unknown-fields'];
    }
  }
  const [crd] = await outcome(tullePolicy, foreign);
  assert.match(
    crd!,
    /^warning: .*drops spec\.client\.serviceAccounts \(v1alpha1\), .* \(v1beta1\).*\n.*tulle install --crds/,
  );
});

test('an authorization that lets nobody in is named, also one whose clients were dropped on the way', async () => {
  const of = (client: object, applied?: object): KubeObject => ({
    apiVersion: 'policy.linkerd.io/v1beta1',
    kind: 'ServerAuthorization',
    metadata: {
      name: 'web',
      namespace: 'shop',
      ...(applied
        ? {
            annotations: {
              'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify({ spec: { client: applied } }),
            },
          }
        : {}),
    },
    spec: { server: { name: 'web' }, client },
  });
  const accounts = { serviceAccounts: [{ name: 'web' }] };
  assert.deepEqual(authorizesNobody(of({ meshTLS: accounts })), []);
  assert.deepEqual(authorizesNobody(of({ meshTLS: null, ...accounts }, accounts)), []);
  assert.match(authorizesNobody(of({}, accounts))[0]!, /^shop\/web: .* the API server has dropped it/);
  assert.match(authorizesNobody(of({ meshTLS: {} }))[0]!, /^shop\/web: spec\.client\.meshTLS: names no clients/);
  assert.match(authorizesNobody(of({ networks: 1 }))[0]!, /^shop\/web: spec\.client\.networks: found 1/);
  const [, found] = await outcome(tullePolicy, definitions(), [of({}, accounts)]);
  assert.match(found!, /^warning: these let nobody in:\n\* shop\/web/);
});

test('what admission would refuse or warns of is named', () => {
  const spec = { podSelector: {}, port: 0 };
  const server = { metadata: { name: 'web', namespace: 'shop' }, spec };
  assert.deepEqual(whyNotInForce(SERVERS, server), [
    "Server shop/web: spec.port: found 0, allowed is 1 to 65535 or a port's name",
  ]);
  assert.deepEqual(whyNotInForce(SERVERS, { ...server, spec: { ...spec, port: 80 } }), []);
  const route = {
    parentRefs: [{ group: 'policy.linkerd.io', kind: 'Server', name: 'web' }],
    rules: [{ filters: [{ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'X', name: 'x' } }] }],
  };
  assert.match(
    whyNotInForce(HTTP_ROUTES, { ...server, spec: route })[0]!,
    /^HTTPRoute shop\/web: requests of spec\.rules\[0\] will fail: /,
  );
  const profile = { metadata: { name: 'web.shop.svc.cluster.local', namespace: 'shop' }, spec: { routes: [{}] } };
  assert.match(whyNotInForce(SERVICE_PROFILES, profile)[0]!, /^ServiceProfile shop\/web\.shop\.svc\.cluster\.local: /);
});
