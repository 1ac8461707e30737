/** Laying values over each other, and what is wrong with the result: every problem at once, each with the key it is about. */
import { MeshError } from '@tulle/api';
import { parse } from 'yaml';
import { duration, logLevel, oneOf, parseCidr, ports, quantity } from './annotation-values.ts';
import { INBOUND_POLICIES } from './annotations.ts';
import { defaultValues, type Values } from './values.ts';

export type ValuesLayer = { readonly [key: string]: unknown };

/** Maps whose keys are the user's own. */
const OPEN =
  /(?:^|\.)(?:nodeSelector|podLabels|podAnnotations|commonLabels|securityContext|labels|deploymentStrategy|namespaceSelector|objectSelector|inbound|outbound)$/;

/** `layer` laid over `values`, in a copy. Keys that we have not are left out; with `problems` each is also named there. */
export function layerValues(values: Values, layer: ValuesLayer, problems?: string[]): Values {
  const result = structuredClone(values);
  layerInto(result as unknown as Record<string, unknown>, layer, '', problems);
  return result;
}

/** Values as ConfigMap `linkerd-config` holds them, over the defaults. Throws when they are not a YAML map or are invalid. */
export function parseValues(text: string): Values {
  const values = layerValues(defaultValues(), parseLayer(text, 'values'));
  const problems = validateValues(values);
  if (problems.length) throw new MeshError('INVALID_ARGUMENT', `read values: ${problems.join('; ')}`);
  return values;
}

export function parseLayer(text: string, source: string): ValuesLayer {
  let layer: unknown;
  try {
    layer = parse(text) ?? {};
  } catch (error) {
    throw new MeshError('INVALID_ARGUMENT', `read ${source}: ${MeshError.from(error).message.split('\n')[0]}`);
  }
  if (!isMap(layer)) throw new MeshError('INVALID_ARGUMENT', `read ${source}: want a YAML map of values`);
  return layer;
}

/** What makes the values unusable, one line each. */
export function validateValues(values: Values): string[] {
  const problems: string[] = [];
  const check = (key: string, value: string, parseIt: (raw: string) => unknown, isOptional = false) => {
    if (isOptional && value === '') return;
    try {
      parseIt(value);
    } catch (error) {
      problems.push(`${key}=${JSON.stringify(value)}: ${MeshError.from(error).message}`);
    }
  };
  const { proxy, proxyInit } = values;
  check('proxy.defaultInboundPolicy', proxy.defaultInboundPolicy, oneOf(...INBOUND_POLICIES));
  check('proxy.logLevel', proxy.logLevel, logLevel);
  check('proxy.logFormat', proxy.logFormat, oneOf('plain', 'json'));
  check('controllerLogLevel', values.controllerLogLevel, oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent'));
  check('controllerLogFormat', values.controllerLogFormat, oneOf('json'));
  check('webhookFailurePolicy', values.webhookFailurePolicy, oneOf('Ignore', 'Fail'));
  check('imagePullPolicy', values.imagePullPolicy, oneOf('Always', 'IfNotPresent', 'Never'));
  check('proxyInit.iptablesMode', proxyInit.iptablesMode, oneOf('nft', 'legacy'));
  check('identity.issuer.scheme', values.identity.issuer.scheme, oneOf('linkerd.io/tls', 'kubernetes.io/tls'));
  for (const name of [values.clusterDomain, values.identityTrustDomain]) check('clusterDomain', name, dnsName, true);
  for (const network of values.clusterNetworks.split(',')) check('clusterNetworks', network.trim(), parseCidr);
  check('proxy.outboundTransportMode', proxy.outboundTransportMode, oneOf('transport-header', 'transparent'));
  for (const network of values.policyController.probeNetworks)
    check('policyController.probeNetworks', String(network), parseCidr);
  check('proxy.opaquePorts', proxy.opaquePorts, ports);
  check('proxyInit.ignoreInboundPorts', proxyInit.ignoreInboundPorts, ports);
  check('proxyInit.ignoreOutboundPorts', proxyInit.ignoreOutboundPorts, ports);
  check('proxyInit.kubeAPIServerPorts', proxyInit.kubeAPIServerPorts, ports);
  for (const key of ['outboundConnectTimeout', 'inboundConnectTimeout'] as const)
    check(`proxy.${key}`, proxy[key], duration);
  check('proxy.shutdownGracePeriod', proxy.shutdownGracePeriod, duration, true);
  for (const [name, port] of Object.entries(proxy.ports)) {
    if (!Number.isInteger(port) || port < 1 || port > 65535)
      problems.push(`proxy.ports.${name}=${port}: want a port, 1 to 65535`);
  }
  if (values.controllerReplicas < 1) problems.push(`controllerReplicas=${values.controllerReplicas}: want at least 1`);
  for (const [name, { request, limit }] of Object.entries(proxy.resources)) {
    check(`proxy.resources.${name}.request`, request, quantity, true);
    check(`proxy.resources.${name}.limit`, limit, quantity, true);
  }
  return problems;
}

function layerInto(target: Record<string, unknown>, layer: ValuesLayer, path: string, problems?: string[]): void {
  for (const [key, value] of Object.entries(layer)) {
    const at = path ? `${path}.${key}` : key;
    const old = target[key];
    const isOpen = OPEN.test(path) || OPEN_PARENT.test(path);
    if (!(key in target) && !isOpen) problems?.push(`${at}: there is no such value`);
    else if (value === null || value === undefined) continue;
    else if (isMap(old) && isMap(value)) layerInto(old, value, at, problems);
    else if (!isOpen && !isSameKind(old, value)) problems?.push(`${at}=${JSON.stringify(value)}: want ${kindOf(old)}`);
    else target[key] = typeof old === 'string' && !isOpen ? String(value) : value;
  }
}

/** Below an open map everything is open. */
const OPEN_PARENT =
  /(?:^|\.)(?:deploymentStrategy|namespaceSelector|objectSelector|securityContext|proxy\.inbound|proxy\.outbound)\./;

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const kindOf = (value: unknown) => (Array.isArray(value) ? 'a list' : isMap(value) ? 'a map' : `a ${typeof value}`);

function isSameKind(old: unknown, value: unknown): boolean {
  if (old === null || old === undefined) return true;
  // `--set proxy.image.version=1` and YAML give a number where a text is meant.
  if (typeof old === 'string') return typeof value === 'string' || typeof value === 'number';
  return kindOf(old) === kindOf(value);
}

function dnsName(raw: string): void {
  if (!/^(?=.{1,253}$)([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(raw)) {
    throw new MeshError('INVALID_ARGUMENT', 'want a DNS name in lower case');
  }
}
