/** What a namespace's annotations say for the pods and Services in it. */
import type { KubeObject } from '@tulle/api';
import { DEFAULT_INBOUND_POLICY_ANNOTATION, OPAQUE_PORTS_ANNOTATION } from './mesh-names.ts';
import { type PortSet, parsePortList } from './port-set.ts';

export interface NamespaceSettings {
  opaquePorts?: PortSet;
  defaultInboundPolicy?: string;
  problems: readonly string[];
}

export function parseNamespace(object: KubeObject): NamespaceSettings {
  const annotations = object.metadata.annotations ?? {};
  const text = annotations[OPAQUE_PORTS_ANNOTATION];
  const opaque = text === undefined ? undefined : parsePortList(text);
  return {
    opaquePorts: opaque?.ports,
    defaultInboundPolicy: annotations[DEFAULT_INBOUND_POLICY_ANNOTATION],
    problems: (opaque?.problems ?? []).map((problem) => `annotation ${OPAQUE_PORTS_ANNOTATION}: ${problem}`),
  };
}
