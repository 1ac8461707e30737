import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import { parse, stringify } from 'yaml';
import { openApiRoutes, pathRegex } from './open-api.ts';
import { profileObject } from './profile-object.ts';
import { protobufRoutes } from './protobuf.ts';
import { templateText } from './template.ts';

const name = { service: 'books', namespace: 'shop', clusterDomain: 'cluster.local' };
const printed = (routes: Parameters<typeof profileObject>[1]) =>
  stringify(profileObject(name, routes), { lineWidth: 0 });

describe('from OpenAPI', () => {
  test('every operation is a route, with its statuses and the extensions', () => {
    const document = `
swagger: "2.0"
basePath: /v1/
paths:
  /books/{id}.json:
    put:
      x-linkerd-retryable: true
      x-linkerd-timeout: 300ms
      responses: { 503: {}, 200: {}, default: {} }
    get: {}
  /books:
    post:
      x-linkerd-retryable: false
      responses: { 4XX: {}, 5xx: {} }
  /other: { $ref: "#/x-paths/~1other" }
x-paths: { /other: { head: {} } }
`;
    assert.equal(
      printed(openApiRoutes(document, 'books.yaml')),
      `apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata:
  name: books.shop.svc.cluster.local
  namespace: shop
spec:
  routes:
    - name: POST /v1/books
      condition:
        method: POST
        pathRegex: /v1/books
      responseClasses:
        - condition:
            status:
              min: 400
              max: 499
        - condition:
            status:
              min: 500
              max: 599
          isFailure: true
    - name: GET /v1/books/{id}.json
      condition:
        method: GET
        pathRegex: /v1/books/[^/]*\\.json
    - name: PUT /v1/books/{id}.json
      condition:
        method: PUT
        pathRegex: /v1/books/[^/]*\\.json
      responseClasses:
        - condition:
            status:
              min: 200
              max: 200
        - condition:
            status:
              min: 503
              max: 503
          isFailure: true
      isRetryable: true
      timeout: 300ms
    - name: HEAD /v1/other
      condition:
        method: HEAD
        pathRegex: /v1/other
`,
    );
  });

  test('version 3 takes the path of its first server', () => {
    const of = (url: string) =>
      openApiRoutes(JSON.stringify({ openapi: '3.0.0', servers: [{ url }], paths: { '/a': { get: {} } } }), 'a');
    for (const [url, path] of [
      ['https://api.example/v2/', '/v2/a'],
      ['/v2', '/v2/a'],
      ['https://api.example', '/a'],
    ])
      assert.equal(of(url!)[0]!.name, `GET ${path}`);
  });

  test('servers of a path or an operation go before those of the document', () => {
    const servers = (url: string) => [{ url }];
    const paths = {
      '/a': { get: {}, put: { servers: servers('/op') } },
      '/b': { servers: servers('//h.example/{version}'), get: {} },
    };
    assert.deepEqual(
      openApiRoutes(JSON.stringify({ servers: servers('/doc'), paths }), 'a').map(
        ({ condition }) => `${condition.method} ${condition.pathRegex}`,
      ),
      ['GET /doc/a', 'PUT /op/a', 'GET /[^/]*/b'],
    );
  });

  test('what is no document, and a time that is none, are refused with the place', () => {
    assert.throws(() => openApiRoutes('[1]', 'a.json'), /read a\.json: no OpenAPI document/);
    assert.throws(() => openApiRoutes('a: [', 'a.yaml'), /read a\.yaml: /);
    const document = '{ paths: { /a: { get: { x-linkerd-timeout: soon } } } }';
    assert.throws(
      () => openApiRoutes(document, 'a.yaml'),
      /GET \/a: x-linkerd-timeout: found "soon", allowed is a duration/,
    );
  });

  test('extensions are known in any case, and what stands elsewhere is found through references', () => {
    const document = `
openapi: 3.1.0
paths:
  /a: { $ref: "#/components/pathItems/a" }
components:
  pathItems:
    a: { $ref: "#/components/pathItems/b%20c" }
    b c: { get: { X-Linkerd-Retryable: true, X-LINKERD-TIMEOUT: 1.5s } }
`;
    assert.deepEqual(openApiRoutes(document, 'a.yaml'), [
      { name: 'GET /a', condition: { method: 'GET', pathRegex: '/a' }, isRetryable: true, timeout: '1.5s' },
    ]);
    const refusal = (reference: string) => () =>
      openApiRoutes(JSON.stringify({ paths: { '/a': { $ref: reference } } }), 'a.yaml');
    assert.throws(
      refusal('b.yaml#/a'),
      /read a\.yaml: \/a\.\$ref: found "b\.yaml#\/a", allowed is a place in the same/,
    );
    assert.throws(refusal('#/nowhere'), /allowed is a place that the document has/);
    assert.throws(refusal('#/paths/~1a'), /allowed is a chain of at most 8 references/);
  });

  test('an expression matches just its path', () => {
    const regex = new RegExp(`^${pathRegex('/a.b/{id}/c+')}$`);
    assert.ok(regex.test('/a.b/7/c+'));
    for (const path of ['/axb/7/c+', '/a.b/7/8/c+', '/a.b/7/cc']) assert.ok(!regex.test(path), path);
  });
});

describe('from protobuf', () => {
  const file = `
syntax = "proto3"; // service No { rpc No(A) returns (B); }
package shop.books.v1;
option go_package = "service { rpc";
message service_ { string rpc = 1; message Inner {} }
/* service Neither { rpc Neither(A) returns (B); } */
service Books {
  option deprecated = true;
  rpc Get(GetRequest) returns (Book) { option (google.api.http) = { get: "/books" }; }
  rpc Watch (stream A) returns (stream B);
}
service Empty {}
`;
  test('every method of every service is a route', () => {
    assert.deepEqual(protobufRoutes(file, 'books.proto'), [
      { name: 'Get', condition: { method: 'POST', pathRegex: '/shop\\.books\\.v1\\.Books/Get' } },
      { name: 'Watch', condition: { method: 'POST', pathRegex: '/shop\\.books\\.v1\\.Books/Watch' } },
    ]);
    const [route] = protobufRoutes(file.replace(/package.*;/, ''), 'books.proto');
    assert.equal(route!.condition.pathRegex, '/Books/Get');
  });

  test('what says of itself that it may be done twice is retried', () => {
    const rpc = (name: string, level: string) => `rpc ${name} (A) returns (B) { option idempotency_level = ${level}; }`;
    const text = `service A { ${rpc('Get', 'NO_SIDE_EFFECTS')} ${rpc('Put', 'IDEMPOTENT')} ${rpc('Add', 'IDEMPOTENCY_UNKNOWN')} rpc Log (A) returns (B); }`;
    assert.deepEqual(
      protobufRoutes(text, 'a.proto').map(({ name, isRetryable }) => [name, isRetryable]),
      [
        ['Get', true],
        ['Put', true],
        ['Add', undefined],
        ['Log', undefined],
      ],
    );
  });

  test('a file without services, or one that is cut off, is refused', () => {
    assert.throws(() => protobufRoutes('message A {}', 'a.proto'), /read a\.proto: no service with methods found/);
    assert.throws(() => protobufRoutes('service A { rpc B(C)', 'a.proto'), /service A has no end/);
  });
});

test('the template would be accepted as it is', () => {
  const { routes } = parseServiceProfile(parse(templateText(name)));
  assert.equal(routes.length, 2);
});
