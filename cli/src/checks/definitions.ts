/**
 * gateway-api-crd, linkerd-crd and, our own, tulle-policy: whether the cluster serves the kinds that the mesh reads, and keeps
 * what their objects say.
 */
import {
  AUTHORIZATION_POLICIES,
  CUSTOM_RESOURCE_DEFINITIONS,
  type CustomResourceDefinition,
  EGRESS_NETWORKS,
  GRPC_ROUTES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  HTTP_ROUTES,
  type Kind,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  MeshError,
  NETWORK_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SERVICE_PROFILES,
  TCP_ROUTES,
  TLS_ROUTES,
} from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import { parseServerAuthorization } from '@tulle/api/policy/server-authorization.ts';
import { checkProfile } from '@tulle/control-plane/admission/profile-rules.ts';
import { checkPolicy } from '@tulle/control-plane/admission/rules.ts';
import { definitions, MESH_CRDS } from '../install/crds.ts';
import { type Category, type Check, Skip } from './check.ts';
import { type CheckContext, fail, failIfAny } from './context.ts';

const GATEWAY_CRDS = ['httproutes.gateway.networking.k8s.io', 'grpcroutes.gateway.networking.k8s.io'];
const SERVER_AUTHORIZATION_CRD = 'serverauthorizations.policy.linkerd.io';
const APPLY = 'tulle install --crds | kubectl apply -f -';
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** Before an installation they may be missing: `tulle install --crds` brings them. */
export function gatewayApiCrd({ mayBeAbsent }: { mayBeAbsent: boolean }): Category {
  return {
    name: 'gateway-api-crd',
    checks: [
      {
        description: 'Gateway API CRDs are installed',
        anchor: 'gateway-api-crd',
        isFatal: true,
        async run(context) {
          const present = await presentDefinitions(context);
          if (mayBeAbsent && !GATEWAY_CRDS.some((name) => present.has(name))) throw new Skip();
          const wrong = GATEWAY_CRDS.flatMap((name) => {
            const crd = present.get(name);
            if (!crd) return [`${name} is missing`];
            return servedVersions(crd).includes('v1') ? [] : [`${name} does not serve version v1`];
          });
          failIfAny(wrong, `the Gateway API's definitions cannot be used; what is missing comes with: ${APPLY}`);
        },
      },
    ],
  };
}

/** Shown as a category of its own before the control plane is there, and in linkerd-config afterwards. */
export const definitionsExist: Check = {
  description: 'control plane CustomResourceDefinitions exist',
  anchor: 'l5d-existence-crd',
  isFatal: true,
  async run(context) {
    const present = await presentDefinitions(context);
    const wanted = definitions().filter(({ metadata }) => MESH_CRDS.includes(metadata.name!));
    const wrong = wanted.flatMap((crd) => {
      const found = present.get(crd.metadata.name!);
      if (!found) return [`${crd.metadata.name} is missing`];
      const lacking = servedVersions(crd).filter((version) => !servedVersions(found).includes(version));
      return lacking.length ? [`${crd.metadata.name} does not serve ${lacking.join(', ')}`] : [];
    });
    failIfAny(wrong, `custom resource definitions are missing or old; they come with: ${APPLY}`);
  },
};

export const linkerdCrd: Category = { name: 'linkerd-crd', checks: [{ ...definitionsExist, isRetried: true }] };

export const tullePolicy: Category = {
  name: 'tulle-policy',
  checks: [
    {
      description: 'ServerAuthorizations keep service accounts beside meshTLS',
      anchor: 'tulle-server-authorization-crd',
      isWarning: true,
      async run(context) {
        const crd = (await presentDefinitions(context)).get(SERVER_AUTHORIZATION_CRD);
        if (!crd) throw new Skip();
        const pruning = versionsOf(crd).flatMap(({ name, schema }) => {
          const fields = droppedFields(schema?.openAPIV3Schema);
          return fields.length ? [`${fields.join(' and ')} (${name})`] : [];
        });
        if (pruning.length) {
          fail(
            `the definition of another installation drops ${pruning.join(', ')}: what stands there has no effect, and an authorization without clients lets nobody in.\nTake ours (${APPLY}), or write the accounts below meshTLS and the labels in matchLabels`,
          );
        }
      },
    },
    {
      description: 'ServerAuthorizations authorize somebody',
      anchor: 'tulle-server-authorization-clients',
      isWarning: true,
      async run(context) {
        const kind = servedAs(SERVER_AUTHORIZATIONS, await presentDefinitions(context));
        if (!kind) throw new Skip();
        const found = await context.list<KubeObject>(kind);
        failIfAny(found.flatMap(authorizesNobody), 'these let nobody in:');
      },
    },
    {
      description: 'policies and routes are in force as written',
      anchor: 'tulle-policies-valid',
      isWarning: true,
      async run(context) {
        const present = await presentDefinitions(context);
        const wrong: string[] = [];
        for (const kind of CHECKED_KINDS) {
          const served = servedAs(kind, present);
          if (!served) continue;
          for (const object of await context.list<KubeObject>(served)) wrong.push(...whyNotInForce(kind, object));
        }
        failIfAny(
          wrong.slice(0, WRONG_SHOWN_MAX),
          `${wrong.length} ${wrong.length === 1 ? 'is' : 'are'} not in force as written:`,
        );
      },
    },
  ],
};

/** Past these the rest is like them. */
const WRONG_SHOWN_MAX = 50;
/** ServerAuthorizations have a check of their own. */
const CHECKED_KINDS: readonly Kind[] = [
  SERVERS,
  AUTHORIZATION_POLICIES,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  EGRESS_NETWORKS,
  POLICY_HTTP_ROUTES,
  HTTP_ROUTES,
  GRPC_ROUTES,
  TLS_ROUTES,
  TCP_ROUTES,
  SERVICE_PROFILES,
];

/** An object may be older than the webhook, have come while it did not answer, or have been let in with a warning. */
export function whyNotInForce(kind: Kind, object: KubeObject): string[] {
  const typed = { ...object, apiVersion: kind.apiVersion, kind: kind.kind };
  const { refusal, warnings } =
    kind === SERVICE_PROFILES ? checkProfile(typed) : checkPolicy(groupOf(kind.apiVersion), kind.kind, typed);
  const name = `${kind.kind} ${object.metadata.namespace}/${object.metadata.name}`;
  return [...(refusal === undefined ? [] : [refusal]), ...warnings].map((reason) => `${name}: ${reason}`);
}

/** One line for an object that authorizes nobody, with the reason. */
export function authorizesNobody(object: KubeObject): string[] {
  const { metadata, spec } = object;
  const name = `${metadata.namespace}/${metadata.name}`;
  if (spec?.client?.serviceAccounts === undefined && lastApplied(object)?.spec?.client?.serviceAccounts?.length) {
    return [
      `${name}: spec.client.serviceAccounts was applied and the API server has dropped it; apply it again once it is kept`,
    ];
  }
  try {
    const { clients } = parseServerAuthorization(object);
    return clients.kind === 'nobody' ? [`${name}: ${clients.reason}`] : [];
  } catch (error) {
    return [`${name}: ${MeshError.from(error).message}`];
  }
}

function lastApplied({ metadata }: KubeObject): KubeObject | undefined {
  try {
    return JSON.parse(metadata.annotations?.[LAST_APPLIED] ?? 'null') ?? undefined;
  } catch {
    // Anybody may write annotations; one that kubectl has not written says nothing.
    return undefined;
  }
}

async function presentDefinitions(context: CheckContext): Promise<Map<string, CustomResourceDefinition>> {
  const items = await context.list<CustomResourceDefinition>(CUSTOM_RESOURCE_DEFINITIONS);
  return new Map(items.map((crd) => [crd.metadata.name!, crd]));
}

interface Version {
  name: string;
  served: boolean;
  schema?: { openAPIV3Schema?: Schema };
}

interface Schema {
  properties?: Record<string, Schema>;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
}

/** The kind in the version that we ask for, or in one that the cluster has. */
function servedAs(kind: Kind, present: ReadonlyMap<string, CustomResourceDefinition>): Kind | undefined {
  const group = groupOf(kind.apiVersion);
  const crd = present.get(`${kind.plural}.${group}`);
  const versions = (crd ? servedVersions(crd) : []).map((version) => `${group}/${version}`);
  if (versions.includes(kind.apiVersion)) return kind;
  return versions[0] === undefined ? undefined : { ...kind, apiVersion: versions[0] };
}

type Definition = KubeObject | CustomResourceDefinition;

const versionsOf = ({ spec }: Definition): Version[] => (spec?.versions ?? []).filter(({ served }: Version) => served);
const servedVersions = (crd: Definition): string[] => versionsOf(crd).map(({ name }) => name);

/** Of the fields that we read beyond Linkerd's schema. */
function droppedFields(schema: Schema | undefined): string[] {
  const { client, server } = schema?.properties?.spec?.properties ?? {};
  const isOpen = (part: Schema | undefined) => part?.['x-kubernetes-preserve-unknown-fields'] === true;
  return [
    ...(client?.properties?.serviceAccounts || isOpen(client) ? [] : ['spec.client.serviceAccounts']),
    ...(isOpen(server?.properties?.selector) || isOpen(server) ? [] : ['labels right in spec.server.selector']),
  ];
}
