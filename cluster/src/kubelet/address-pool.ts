/** Hands out the addresses of a node's range of pods, round and round, so that one is not used again soon. */

import { MeshError } from '@tulle/api';
import { addressAt, isIpv6 } from '../network/interfaces.ts';

/** The range itself, and the node's own address. */
const RESERVED = 2;
/** Of an IPv6 range only this many are used: as many as a /16 of IPv4 has. */
const OFFSETS_MAX = 65_534;

export class AddressPool {
  readonly #cidrs: string[];
  readonly #size: number;
  readonly #used = new Set<number>();
  #next = RESERVED;

  constructor(cidrs: string[]) {
    this.#cidrs = cidrs;
    const sizes = cidrs.map((cidr) => 2 ** Math.min((isIpv6(cidr) ? 128 : 32) - Number(cidr.split('/')[1]), 16));
    this.#size = Math.min(...sizes, OFFSETS_MAX + RESERVED) - 1;
  }

  /** One address of each family; the numbers at their ends agree. */
  allocate(): { addresses: string[]; offset: number } {
    for (let tried = 0; tried < this.#size; tried++) {
      const offset = this.#next;
      this.#next = offset + 1 >= this.#size ? RESERVED : offset + 1;
      if (this.#used.has(offset)) continue;
      this.#used.add(offset);
      return { addresses: this.#cidrs.map((cidr) => addressAt(cidr, offset)), offset };
    }
    throw new MeshError('RESOURCE_EXHAUSTED', `no free address in ${this.#cidrs.join(' and ')}`);
  }

  release(offset: number): void {
    this.#used.delete(offset);
  }
}
