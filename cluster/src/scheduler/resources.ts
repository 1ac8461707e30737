/** How much of a node a pod asks for. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity */

import { type Container, type Pod, type PodSpec, parseQuantity } from '@tulle/api';

export interface Amounts {
  cpu: number;
  memory: number;
}

/** A quantity as a number; none, and what is malformed, is 0. */
export function amount(text: string | number | undefined): number {
  return parseQuantity(text ?? '') ?? 0;
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
  const overhead = { cpu: amount(spec?.overhead?.cpu), memory: amount(spec?.overhead?.memory) };
  return add(max(running, initPeak), overhead);
}

export function sumOfRequests(pods: Pod[]): Amounts {
  return pods.map((pod) => requestsOf(pod.spec)).reduce(add, none());
}

function requestOf({ resources }: Container): Amounts {
  const request = (name: 'cpu' | 'memory') => amount(resources?.requests?.[name] ?? resources?.limits?.[name]);
  return { cpu: request('cpu'), memory: request('memory') };
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
