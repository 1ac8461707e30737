/**
 * The custom resource definitions, one file of api/crds each. The build puts their text into the bundle, so that the command
 * line needs no file beside it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CUSTOM_RESOURCE_DEFINITIONS, type CustomResourceDefinition, type KubeObject, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import { parse } from 'yaml';

const FOLDER = '../../../api/crds';
const GATEWAY_GROUP = 'gateway.networking.k8s.io';
const BUNDLE_VERSION = `${GATEWAY_GROUP}/bundle-version`;
const CHANNEL = `${GATEWAY_GROUP}/channel`;
/** Marks what an installation of ours, or Linkerd's, has brought. */
export const OWNER_LABEL = 'linkerd.io/control-plane-ns';

export type CrdSet = 'mesh' | 'gateway' | 'smi';

/** What `install` and `check` need of each; the rest is optional. */
export const MESH_CRDS: readonly string[] = [
  'authorizationpolicies.policy.linkerd.io',
  'egressnetworks.policy.linkerd.io',
  'httplocalratelimitpolicies.policy.linkerd.io',
  'httproutes.policy.linkerd.io',
  'meshtlsauthentications.policy.linkerd.io',
  'networkauthentications.policy.linkerd.io',
  'serverauthorizations.policy.linkerd.io',
  'servers.policy.linkerd.io',
  'serviceprofiles.linkerd.io',
  'externalworkloads.workload.linkerd.io',
];

/** As they are written, by name. */
export function definitions(): KubeObject[] {
  return Object.values(definitionTexts())
    .map((text) => parse(text) as KubeObject)
    .sort((a, b) => a.metadata.name!.localeCompare(b.metadata.name!));
}

function definitionTexts(): Record<string, string> {
  const built = process.env.TULLE_CRDS;
  if (built) return JSON.parse(built);
  const folder = join(import.meta.dirname, FOLDER);
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

export function setOf({ spec }: KubeObject): CrdSet {
  if (spec.group === GATEWAY_GROUP) return 'gateway';
  return spec.group.endsWith('.smi-spec.io') ? 'smi' : 'mesh';
}

export interface CrdOptions {
  namespace: string;
  createdBy: string;
  /** Kinds of the Service Mesh Interface too. */
  hasSmi: boolean;
  /** True: the Gateway API's kinds must be ours; false: they must not; undefined: those that the cluster lacks. */
  installGatewayApi: boolean | undefined;
}

/** What the cluster has of the Gateway API. */
export type GatewayState =
  | { kind: 'absent' }
  /** Nobody has looked. */
  | { kind: 'unknown' }
  /** Brought by an installation of ours or Linkerd's, which may bring them again. */
  | { kind: 'ours' }
  /** Somebody else's, all or some of them: those that are named stay as they are. `bundle` is the release and channel that they state. */
  | { kind: 'external'; names: ReadonlySet<string>; version: string; bundle?: Record<string, string> };

/** The definitions to print, and what to say about those that are left out. */
export function crdManifests(options: CrdOptions, state: GatewayState): { objects: KubeObject[]; notes: string[] } {
  const notes: string[] = [];
  const all = definitions();
  const gateway = gatewayDefinitions(
    all.filter((crd) => setOf(crd) === 'gateway'),
    options,
    state,
    notes,
  );
  const objects = [
    ...all.filter((crd) => setOf(crd) === 'mesh'),
    ...gateway,
    ...(options.hasSmi ? all.filter((crd) => setOf(crd) === 'smi') : []),
  ];
  return { objects: objects.map((crd) => marked(crd, options)), notes };
}

function gatewayDefinitions(
  all: KubeObject[],
  { installGatewayApi }: CrdOptions,
  state: GatewayState,
  notes: string[],
): KubeObject[] {
  if (installGatewayApi === false) {
    if (state.kind === 'ours') {
      throw new MeshError(
        'FAILED_PRECONDITION',
        'leave out the Gateway API (installGatewayAPI=false): an installation has brought it to this cluster, and would take it and all its routes away; leave the setting out to keep it',
      );
    }
    if (state.kind === 'absent') {
      throw new MeshError(
        'FAILED_PRECONDITION',
        'leave out the Gateway API (installGatewayAPI=false): the cluster lacks it; apply it first, or leave the setting out to have it from here',
      );
    }
    return [];
  }
  if (state.kind !== 'external') return all;
  if (installGatewayApi) {
    throw new MeshError(
      'FAILED_PRECONDITION',
      `install the Gateway API (installGatewayAPI=true): the cluster has it from somebody else (${state.version}); leave the setting out to use theirs`,
    );
  }
  const missing = all.filter((crd) => !state.names.has(crd.metadata.name!));
  const added = missing.map(({ metadata }) => metadata.name!.split('.')[0]).join(', ');
  notes.push(
    `the Gateway API of this cluster (${state.version}) is left as it is${added && `; what it lacks is added: ${added}`}`,
  );
  return missing.map((crd) => inBundle(crd, state.bundle));
}

/** Tools refuse a cluster whose definitions state several releases or channels, so what is added joins those that are there. */
function inBundle(crd: KubeObject, bundle: Record<string, string> = {}): KubeObject {
  return { ...crd, metadata: { ...crd.metadata, annotations: { ...crd.metadata.annotations, ...bundle } } };
}

/** With the label and annotation of whoever installs them. */
function marked(crd: KubeObject, { namespace, createdBy }: CrdOptions): KubeObject {
  const { metadata, ...rest } = crd;
  return {
    ...rest,
    metadata: {
      ...metadata,
      annotations: { 'linkerd.io/created-by': createdBy, ...metadata.annotations },
      labels: { [OWNER_LABEL]: namespace, ...metadata.labels },
    },
  };
}

export async function gatewayState(client: Client): Promise<GatewayState> {
  const { items } = await client.list<CustomResourceDefinition>(CUSTOM_RESOURCE_DEFINITIONS);
  const names = new Set(
    definitions()
      .filter((crd) => setOf(crd) === 'gateway')
      .map((crd) => crd.metadata.name),
  );
  const present = items.filter(({ metadata }) => names.has(metadata.name));
  if (present.length === 0) return { kind: 'absent' };
  const external = present.filter(({ metadata }) => metadata.labels?.[OWNER_LABEL] === undefined);
  if (external.length === 0) return { kind: 'ours' };
  const { [BUNDLE_VERSION]: version, [CHANNEL]: channel } = external[0]!.metadata.annotations ?? {};
  return {
    kind: 'external',
    names: new Set(external.map(({ metadata }) => metadata.name!)),
    version: `${version ?? 'of no stated version'} ${channel ?? ''}`.trim(),
    bundle: version && channel ? { [BUNDLE_VERSION]: version, [CHANNEL]: channel } : {},
  };
}

/** The names of `MESH_CRDS` that the cluster has not. */
export async function missingCrds(client: Client): Promise<string[]> {
  const { items } = await client.list<CustomResourceDefinition>(CUSTOM_RESOURCE_DEFINITIONS);
  const present = new Set(items.map(({ metadata }) => metadata.name));
  return MESH_CRDS.filter((name) => !present.has(name));
}
