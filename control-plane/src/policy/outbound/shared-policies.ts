/**
 * Policies on the wire, worked out once for all streams that ask for the same: when a topic that a policy depends on
 * changes, the first stream that reads works it out again and the others take its answer.
 */
import { toBinary } from '@bufbuild/protobuf';
import { type OutboundPolicy as OutboundMessage, OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import type { Subscriber, Subscriptions } from '../../workloads/subscriptions.ts';
import type { Topic } from '../../workloads/workload-index.ts';
import type { Located, OutboundClient, OutboundResolver, OutboundTarget } from './resolver.ts';
import { TopicSet } from './topic-set.ts';
import { toOutboundPolicy } from './translator.ts';

export class SharedPolicies {
  readonly #resolver: OutboundResolver;
  readonly #subscriptions: Subscriptions;
  readonly #clusterDomain: string;
  /** By `shareKey`; an entry lasts as long as a stream holds it. */
  readonly #entries = new Map<string, SharedPolicy>();

  constructor(resolver: OutboundResolver, subscriptions: Subscriptions, clusterDomain: string) {
    this.#resolver = resolver;
    this.#subscriptions = subscriptions;
    this.#clusterDomain = clusterDomain;
  }

  /** The policy of now, for one who asks once. @throws MeshError `NOT_FOUND` as the resolver does. */
  get(target: OutboundTarget, client: OutboundClient): OutboundMessage {
    const located = this.#resolver.locate(target, client, new TopicSet());
    return this.#translate(located, client, new TopicSet());
  }

  /** What one stream reads; `waker` is woken when the next read may return something else. */
  open(target: OutboundTarget, client: OutboundClient, waker: Subscriber): PolicyReader {
    let held: { key: string; entry: SharedPolicy } | undefined;
    const place = new TopicSubscription(this.#subscriptions, waker);
    const release = () => {
      if (held?.entry.release(waker)) this.#entries.delete(held.key);
      held = undefined;
    };
    return {
      read: () => {
        const topics = new TopicSet();
        try {
          const located = this.#resolver.locate(target, client, topics);
          const key = this.#resolver.shareKey(located, client);
          if (held?.key !== key) {
            release();
            const entry = this.#entries.get(key) ?? new SharedPolicy(this.#subscriptions);
            this.#entries.set(key, entry);
            entry.hold(waker);
            held = { key, entry };
          }
          return held!.entry.read((depends) => this.#translate(located, client, depends));
        } finally {
          place.follow(topics.all());
        }
      },
      [Symbol.dispose]: () => {
        release();
        place[Symbol.dispose]();
      },
    };
  }

  /** Policies held. */
  get size(): number {
    return this.#entries.size;
  }

  #translate(located: Located, client: OutboundClient, topics: TopicSet): OutboundMessage {
    const policy = this.#resolver.policy(located, client, topics);
    const zone = located.kind === 'endpoint' ? located.clientZone : undefined;
    return toOutboundPolicy(policy, this.#clusterDomain, zone);
  }
}

export interface PolicyReader extends Disposable {
  /** The same object for as long as nothing in it changes. @throws MeshError `NOT_FOUND` as the resolver does. */
  read(): OutboundMessage;
}

class SharedPolicy implements Subscriber {
  readonly #holders = new Set<Subscriber>();
  readonly #topics: TopicSubscription;
  #isStale = true;
  #last: { message: OutboundMessage; bytes: Uint8Array } | undefined;

  constructor(subscriptions: Subscriptions) {
    this.#topics = new TopicSubscription(subscriptions, this);
  }

  hold(holder: Subscriber): void {
    this.#holders.add(holder);
  }

  /** Whether nobody holds it any more. */
  release(holder: Subscriber): boolean {
    this.#holders.delete(holder);
    if (this.#holders.size > 0) return false;
    this.#topics[Symbol.dispose]();
    return true;
  }

  wake(): void {
    this.#isStale = true;
    for (const holder of this.#holders) holder.wake();
  }

  read(translate: (topics: TopicSet) => OutboundMessage): OutboundMessage {
    if (!this.#isStale && this.#last) return this.#last.message;
    const topics = new TopicSet();
    const message = translate(topics);
    this.#topics.follow(topics.all());
    this.#isStale = false;
    const bytes = toBinary(OutboundPolicySchema, message);
    if (!this.#last || Buffer.compare(bytes, this.#last.bytes) !== 0) this.#last = { message, bytes };
    return this.#last.message;
  }
}

/** A subscription whose topics change with each answer. */
class TopicSubscription {
  readonly #subscriptions: Subscriptions;
  readonly #subscriber: Subscriber;
  #topics: ReadonlySet<Topic> = new Set();
  #current: Disposable | undefined;

  constructor(subscriptions: Subscriptions, subscriber: Subscriber) {
    this.#subscriptions = subscriptions;
    this.#subscriber = subscriber;
  }

  follow(topics: readonly Topic[]): void {
    const isSame = topics.length === this.#topics.size && topics.every((topic) => this.#topics.has(topic));
    if (isSame && this.#current) return;
    this[Symbol.dispose]();
    this.#topics = new Set(topics);
    this.#current = this.#subscriptions.subscribe(topics, this.#subscriber);
  }

  [Symbol.dispose](): void {
    this.#current?.[Symbol.dispose]();
    this.#current = undefined;
  }
}
