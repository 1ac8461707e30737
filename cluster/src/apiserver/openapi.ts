/** /openapi/v3: the schemas and paths of what is served, one document per group and version. */
import { createHash } from 'node:crypto';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Registry } from '../resources/registry.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import { typeNames } from '../schema/notation.ts';
import type { Schema } from '../schema/schema.ts';
import type { Fields } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { KUBERNETES_VERSION } from './discovery.ts';
import { sendJson } from './respond.ts';
import { noSuchPath } from './status.ts';

interface Document {
  text: string;
  hash: string;
}

const cache = new WeakMap<Registry, { generation: number; documents: Map<string, Document> }>();

export function handleOpenApi(request: ApiRequest): void {
  const { context, info } = request;
  const segments = info.path.split('/').filter((segment) => segment !== '');
  if (segments[1] === 'v2' && segments.length === 2) {
    sendVersion2(request);
    return;
  }
  if (segments[1] !== 'v3') throw noSuchPath();
  const documents = documentsOf(context.registry);
  if (segments.length === 2) {
    const paths = Object.fromEntries(
      [...documents].map(([path, { hash }]) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }]),
    );
    sendJson(request, 200, JSON.stringify({ paths }));
    return;
  }
  const document = documents.get(segments.slice(2).join('/'));
  if (document === undefined) throw noSuchPath();
  request.outgoing.setHeader('etag', `"${document.hash}"`);
  sendJson(request, 200, document.text);
}

const V2_PROTOBUF = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/**
 * Version 2 has no schemas here: kubectl asks for it only when a kind is not in version 3, and then needs a document, in
 * protobuf, to find that the kind is not there.
 */
function sendVersion2({ incoming, outgoing, warnings }: ApiRequest): void {
  const info = { title: 'Kubernetes', version: KUBERNETES_VERSION.gitVersion };
  if (!(incoming.headers.accept ?? '').includes('proto-openapi')) {
    sendJson(
      { incoming, outgoing, warnings },
      200,
      JSON.stringify({ swagger: '2.0', info, paths: {}, definitions: {} }),
    );
    return;
  }
  const message = new BinaryWriter().tag(1, WireType.LengthDelimited).string('2.0').tag(2, WireType.LengthDelimited);
  message.fork();
  message.tag(1, WireType.LengthDelimited).string(info.title).tag(2, WireType.LengthDelimited).string(info.version);
  const bytes = message.join().finish();
  outgoing.writeHead(200, { 'content-type': V2_PROTOBUF, 'content-length': bytes.length });
  outgoing.end(bytes);
}

function documentsOf(registry: Registry): Map<string, Document> {
  const known = cache.get(registry);
  if (known?.generation === registry.generation) return known.documents;
  const groups = new Map<string, Resource[]>();
  for (const resource of registry.all()) {
    const path = resource.group === '' ? `api/${resource.version}` : `apis/${apiVersionOf(resource)}`;
    groups.set(path, [...(groups.get(path) ?? []), resource]);
  }
  const documents = new Map<string, Document>();
  for (const [path, resources] of groups) {
    const text = JSON.stringify(documentOf(path, resources));
    documents.set(path, { text, hash: createHash('sha256').update(text).digest('hex').toUpperCase() });
  }
  cache.set(registry, { generation: registry.generation, documents });
  return documents;
}

function documentOf(path: string, resources: Resource[]): Fields {
  const schemas: Record<string, Fields> = {};
  const paths: Record<string, Fields> = {};
  const names = new SchemaNames(schemas);
  for (const resource of resources) {
    const name = definitionName(resource);
    schemas[name] = {
      ...names.inline(resource.schema),
      'x-kubernetes-group-version-kind': [{ group: resource.group, kind: resource.kind, version: resource.version }],
    };
    addPaths(paths, `/${path}`, resource, name);
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: KUBERNETES_VERSION.gitVersion },
    paths,
    components: { schemas },
  };
}

const packages: Record<string, string> = {
  '': 'core',
  apps: 'apps',
  batch: 'batch',
  policy: 'policy',
  'discovery.k8s.io': 'discovery',
  'events.k8s.io': 'events',
  'coordination.k8s.io': 'coordination',
  'scheduling.k8s.io': 'scheduling',
  'rbac.authorization.k8s.io': 'rbac',
  'admissionregistration.k8s.io': 'admissionregistration',
  'authentication.k8s.io': 'authentication',
  'authorization.k8s.io': 'authorization',
};

function definitionName({ group, version, kind }: Resource): string {
  if (group === 'apiextensions.k8s.io')
    return `io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.${version}.${kind}`;
  const name = packages[group];
  if (name !== undefined) return `io.k8s.api.${name}.${version}.${kind}`;
  return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
}

/** Writes named types once, under components, and refers to them. */
class SchemaNames {
  #schemas: Record<string, Fields>;

  constructor(schemas: Record<string, Fields>) {
    this.#schemas = schemas;
  }

  inline(schema: Schema): Fields {
    const out: Fields = { ...schema };
    if (schema.properties !== undefined) {
      out.properties = Object.fromEntries(
        Object.entries(schema.properties).map(([field, inner]) => [
          field,
          { ...this.refer(inner), ...patchHints(inner) },
        ]),
      );
    }
    if (schema.items !== undefined) out.items = this.refer(schema.items);
    if (typeof schema.additionalProperties === 'object')
      out.additionalProperties = this.refer(schema.additionalProperties);
    if (schema['x-kubernetes-int-or-string'] === true && out.type === undefined)
      out.oneOf = [{ type: 'integer' }, { type: 'string' }];
    if (schema['x-kubernetes-preserve-unknown-fields'] === true && out.type === undefined) out.type = 'object';
    return out;
  }

  refer(schema: Schema): Fields {
    const type = typeNames.get(schema);
    if (type === undefined) return this.inline(schema);
    const name = `mesh.tulle.types.${type}`;
    if (this.#schemas[name] === undefined) {
      this.#schemas[name] = {};
      this.#schemas[name] = this.inline(schema);
    }
    return { allOf: [{ $ref: `#/components/schemas/${name}` }], default: {} };
  }
}

/** Types whose fields exclude each other: a strategic merge patch names the ones to keep. */
const unions = ['Volume', 'DeploymentStrategy'];

/** How kubectl merges the field when it makes a strategic merge patch. */
function patchHints(schema: Schema): Fields {
  const type = schema['x-kubernetes-list-type'];
  const isUnion = unions.includes(typeNames.get(schema.items ?? schema) ?? '');
  if (type === 'map') {
    return {
      'x-kubernetes-patch-merge-key': schema['x-kubernetes-list-map-keys']?.[0],
      'x-kubernetes-patch-strategy': isUnion ? 'merge,retainKeys' : 'merge',
    };
  }
  if (type === 'set') return { 'x-kubernetes-patch-strategy': 'merge' };
  return isUnion ? { 'x-kubernetes-patch-strategy': 'retainKeys' } : {};
}

const bodyVerbs: Record<string, string> = { create: 'post', update: 'put' };
const actions: Record<string, string> = {
  get: 'get',
  list: 'list',
  create: 'post',
  update: 'put',
  patch: 'patch',
  delete: 'delete',
  deletecollection: 'deletecollection',
};

function addPaths(paths: Record<string, Fields>, root: string, resource: Resource, name: string): void {
  const prefix = resource.namespaced
    ? `${root}/namespaces/{namespace}/${resource.plural}`
    : `${root}/${resource.plural}`;
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
  const gvk = { group: resource.group, version: resource.version, kind: resource.kind };
  const operation = (verb: string): Fields => {
    const isWrite = ['create', 'update', 'patch'].includes(verb);
    const parameters = isWrite
      ? ['dryRun', 'fieldManager', 'fieldValidation', ...(verb === 'patch' ? ['force'] : [])]
      : [];
    const patchContent = Object.fromEntries(
      [
        'application/apply-patch+yaml',
        'application/json-patch+json',
        'application/merge-patch+json',
        ...(resource.isCustom ? [] : ['application/strategic-merge-patch+json']),
      ].map((type) => [type, { schema: { type: 'object' } }]),
    );
    return {
      operationId: `${verb}${resource.version}${resource.namespaced ? 'Namespaced' : ''}${resource.kind}`,
      ...(isWrite
        ? {
            parameters: parameters.map((parameter) => ({
              name: parameter,
              in: 'query',
              schema: { type: parameter === 'force' ? 'boolean' : 'string', uniqueItems: true },
            })),
          }
        : {}),
      ...(bodyVerbs[verb] !== undefined
        ? { requestBody: { content: { '*/*': content['application/json'] }, required: true } }
        : verb === 'patch'
          ? { requestBody: { content: patchContent, required: true } }
          : {}),
      responses: { 200: { description: 'OK', content } },
      'x-kubernetes-action': actions[verb],
      'x-kubernetes-group-version-kind': gvk,
    };
  };
  const add = (path: string, methods: [string, string][]) => {
    const item: Fields = {};
    for (const [method, verb] of methods)
      if ((resource.verbs as readonly string[]).includes(verb)) item[method] = operation(verb);
    if (Object.keys(item).length > 0) paths[path] = item;
  };
  add(prefix, [
    ['get', 'list'],
    ['post', 'create'],
    ['delete', 'deletecollection'],
  ]);
  add(`${prefix}/{name}`, [
    ['get', 'get'],
    ['put', 'update'],
    ['patch', 'patch'],
    ['delete', 'delete'],
  ]);
  if (resource.hasStatus)
    add(`${prefix}/{name}/status`, [
      ['get', 'get'],
      ['put', 'update'],
      ['patch', 'patch'],
    ]);
}
