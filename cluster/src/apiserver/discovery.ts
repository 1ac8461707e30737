/** Discovery: which groups, versions and resources there are, in the aggregated form and in the older ones. */
import type { Registry } from '../resources/registry.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import type { Fields } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { sendJson } from './respond.ts';
import { noSuchPath } from './status.ts';

/** Which Kubernetes the API answers like. */
export const KUBERNETES_VERSION = { major: '1', minor: '34', gitVersion: 'v1.34.0+tulle' } as const;

export function versionInfo(): Fields {
  return {
    ...KUBERNETES_VERSION,
    emulationMajor: '1',
    emulationMinor: '34',
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: '',
    compiler: `node ${process.version}`,
    platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

/** Answers /api, /apis, /api/v1, /apis/GROUP and /apis/GROUP/VERSION. */
export function handleDiscovery(request: ApiRequest): void {
  const segments = request.info.path.split('/').filter((segment) => segment !== '');
  const isRoot = segments.length === 1;
  const version = isRoot ? aggregatedVersion(request.incoming.headers.accept ?? '') : undefined;
  if (version !== undefined) {
    request.outgoing.setHeader('vary', 'Accept');
    const text = JSON.stringify(aggregated(request.context.registry, segments[0] === 'api', version));
    sendJson(request, 200, text, `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`);
    return;
  }
  sendJson(request, 200, JSON.stringify(discoveryDocument(request, segments)));
}

function discoveryDocument(request: ApiRequest, [root, group, version, ...rest]: string[]): Fields {
  const { registry } = request.context;
  if (rest.length > 0) throw noSuchPath();
  if (root === 'api') {
    if (group === undefined) return apiVersions(request);
    if (group === 'v1' && version === undefined) return resourceList(registry, '', 'v1');
    throw noSuchPath();
  }
  if (group === undefined) return apiGroups(registry);
  const found = groupsOf(registry).find((entry) => entry.name === group);
  if (found === undefined) throw noSuchPath();
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...groupJson(found) };
  if (!found.versions.includes(version)) throw noSuchPath();
  return resourceList(registry, group, version);
}

interface Group {
  name: string;
  /** Best first. */
  versions: string[];
}

function groupsOf(registry: Registry): Group[] {
  const groups = new Map<string, Set<string>>();
  for (const { group, version } of registry.all()) {
    if (group === '') continue;
    const versions = groups.get(group) ?? new Set();
    groups.set(group, versions.add(version));
  }
  return [...groups].map(([name, versions]) => ({ name, versions: [...versions].sort(compareVersions) }));
}

/** Stable before beta before alpha, higher first; other names last, by alphabet. */
export function compareVersions(a: string, b: string): number {
  const rank = (version: string) => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (match === null) return undefined;
    const stage = match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0;
    return [stage, Number(match[1]), Number(match[3] ?? 0)] as const;
  };
  const [x, y] = [rank(a), rank(b)];
  if (x === undefined || y === undefined) return x === y ? (a < b ? -1 : 1) : x === undefined ? 1 : -1;
  return y[0] - x[0] || y[1] - x[1] || y[2] - x[2];
}

function apiVersions(request: ApiRequest): Fields {
  const host = request.incoming.headers.host ?? '';
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: host }],
  };
}

function groupJson({ name, versions }: Group): Fields {
  const all = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

function apiGroups(registry: Registry): Fields {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groupsOf(registry).map(groupJson) };
}

function resourceList(registry: Registry, group: string, version: string): Fields {
  const resources: Fields[] = [];
  for (const resource of registry.all()) {
    if (resource.group !== group || resource.version !== version) continue;
    const { plural, singular, namespaced, kind, shortNames, categories, verbs } = resource;
    resources.push({
      name: plural,
      singularName: singular,
      namespaced,
      kind,
      verbs,
      ...(shortNames.length > 0 ? { shortNames } : {}),
      ...(categories.length > 0 ? { categories } : {}),
    });
    for (const sub of subresourcesOf(resource)) {
      resources.push({
        name: `${plural}/${sub.name}`,
        singularName: '',
        namespaced,
        ...(sub.group === undefined ? {} : { group: sub.group, version: sub.version }),
        kind: sub.kind,
        verbs: sub.verbs,
      });
    }
  }
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersionOf({ group, version }), resources };
}

export function subresourcesOf(resource: Resource): Resource['subresources'] {
  const out = [...resource.subresources];
  if (resource.hasStatus) out.push({ name: 'status', kind: resource.kind, verbs: ['get', 'patch', 'update'] });
  if (resource.scale !== undefined)
    out.push({ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: ['get', 'patch', 'update'] });
  return out;
}

function aggregatedVersion(accept: string): 'v2' | 'v2beta1' | undefined {
  for (const alternative of accept.split(',')) {
    if (!/g=apidiscovery\.k8s\.io/.test(alternative) || !/as=APIGroupDiscoveryList/.test(alternative)) continue;
    const version = /v=(v2beta1|v2)(?:;|$)/.exec(alternative)?.[1];
    if (version !== undefined) return version as 'v2' | 'v2beta1';
  }
  return undefined;
}

function aggregated(registry: Registry, isCore: boolean, version: string): Fields {
  const groups = isCore ? [{ name: '', versions: ['v1'] }] : groupsOf(registry);
  const items = groups.map(({ name, versions }) => ({
    metadata: { ...(name === '' ? {} : { name }), creationTimestamp: null },
    versions: versions.map((v) => ({
      version: v,
      freshness: 'Current',
      resources: registry
        .all()
        .filter((resource) => resource.group === name && resource.version === v)
        .map((resource) => aggregatedResource(resource)),
    })),
  }));
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
}

function aggregatedResource(resource: Resource): Fields {
  const { group, version, kind, plural, singular, namespaced, shortNames, categories, verbs } = resource;
  const subresources = subresourcesOf(resource).map((sub) => ({
    subresource: sub.name,
    responseKind: { group: sub.group ?? group, version: sub.version ?? version, kind: sub.kind },
    verbs: sub.verbs,
  }));
  return {
    resource: plural,
    responseKind: { group, version, kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs,
    ...(shortNames.length > 0 ? { shortNames } : {}),
    ...(categories.length > 0 ? { categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}
