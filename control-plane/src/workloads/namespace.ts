/** What a namespace's annotations say for the pods and Services in it. */
import type { KubeObject } from '@tulle/api';
import { type DefaultPolicy, parseDefaultPolicy } from './default-policy.ts';
import { DEFAULT_INBOUND_POLICY_ANNOTATION, OPAQUE_PORTS_ANNOTATION } from './mesh-names.ts';
import { type PortSet, parsePortList } from './port-set.ts';

export interface NamespaceSettings {
  opaquePorts?: PortSet;
  defaultInboundPolicy?: DefaultPolicy;
  problems: readonly string[];
}

export function parseNamespace(object: KubeObject): NamespaceSettings {
  const annotations = object.metadata.annotations ?? {};
  const text = annotations[OPAQUE_PORTS_ANNOTATION];
  const opaque = text === undefined ? undefined : parsePortList(text);
  const problems = (opaque?.problems ?? []).map((problem) => `annotation ${OPAQUE_PORTS_ANNOTATION}: ${problem}`);
  return { opaquePorts: opaque?.ports, defaultInboundPolicy: readDefaultPolicy(annotations, problems), problems };
}

/** Of a pod's or a namespace's annotations; one that names no policy is added to the problems. */
export function readDefaultPolicy(
  annotations: Readonly<Record<string, string>>,
  problems: string[],
): DefaultPolicy | undefined {
  const text = annotations[DEFAULT_INBOUND_POLICY_ANNOTATION];
  if (text === undefined) return undefined;
  const policy = parseDefaultPolicy(text);
  if (!policy) problems.push(`annotation ${DEFAULT_INBOUND_POLICY_ANNOTATION}: "${text}" is no default policy`);
  return policy;
}
