/** What an answer depends on: the topics whose change may change it, gathered while it is worked out. */
import { serviceSpecTopic, type Topic } from '../../workloads/workload-index.ts';
import { egressTopic, GRANTS_SERVED_TOPIC, grantsTopic, routesTopic } from './outbound-index.ts';

interface Named {
  namespace: string;
  name: string;
}

export class TopicSet {
  readonly #topics = new Set<Topic>();

  /** The object of a Service, not its endpoints. */
  addServiceSpec({ namespace, name }: Named): void {
    this.#topics.add(serviceSpecTopic(`${namespace}/${name}`));
  }

  /** What an address belongs to. */
  addIp(ip: string): void {
    this.#topics.add(`ip/${ip}`);
  }

  addPod(key: string): void {
    this.#topics.add(`pod/${key}`);
  }

  /** The routes that are attached to a parent. */
  addRoutes(parent: 'service' | 'egress', named: Named): void {
    this.#topics.add(routesTopic(parent, named));
  }

  /** The EgressNetworks of a namespace. */
  addEgressNetworks(namespace: string): void {
    this.#topics.add(egressTopic(namespace));
  }

  addGrants(namespace: string): void {
    this.#topics.add(grantsTopic(namespace));
    this.#topics.add(GRANTS_SERVED_TOPIC);
  }

  all(): readonly Topic[] {
    return [...this.#topics];
  }
}
