/** How much of a node a pod asks for. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity */

import type { Container, Pod, PodSpec } from '@tulle/api';

export interface Amounts {
  cpu: number;
  memory: number;
}

const SUFFIXES: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A quantity (`250m`, `64Mi`, `1e3`) as a number; `undefined` and what is malformed is 0. */
export function parseQuantity(text: string | number | undefined): number {
  if (typeof text === 'number') return text;
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]?i?)$/.exec(text ?? '');
  const factor = SUFFIXES[match?.[2] ?? ''];
  const value = Number(match?.[1]);
  return factor === undefined || !Number.isFinite(value) ? 0 : value * factor;
}

/** What a pod asks for: its containers and sidecars together, or an init container that asks for more. */
export function requestsOf(spec: PodSpec | undefined): Amounts {
  const inits = spec?.initContainers ?? [];
  let sidecars = none();
  let initPeak = none();
  for (const init of inits) {
    if (init.restartPolicy === 'Always') sidecars = add(sidecars, requestOf(init));
    else initPeak = max(initPeak, add(sidecars, requestOf(init)));
  }
  const running = (spec?.containers ?? []).map(requestOf).reduce(add, sidecars);
  const overhead = { cpu: parseQuantity(spec?.overhead?.cpu), memory: parseQuantity(spec?.overhead?.memory) };
  return add(max(running, initPeak), overhead);
}

export function sumOfRequests(pods: Pod[]): Amounts {
  return pods.map((pod) => requestsOf(pod.spec)).reduce(add, none());
}

function requestOf({ resources }: Container): Amounts {
  const amount = (name: 'cpu' | 'memory') => parseQuantity(resources?.requests?.[name] ?? resources?.limits?.[name]);
  return { cpu: amount('cpu'), memory: amount('memory') };
}

function none(): Amounts {
  return { cpu: 0, memory: 0 };
}

function add(a: Amounts, b: Amounts): Amounts {
  return { cpu: a.cpu + b.cpu, memory: a.memory + b.memory };
}

function max(a: Amounts, b: Amounts): Amounts {
  return { cpu: Math.max(a.cpu, b.cpu), memory: Math.max(a.memory, b.memory) };
}
