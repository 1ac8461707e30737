/** The addresses of Services: where they come from and which are taken. Offsets are the same in both families. */

import type { Store } from './store/store.ts';
import type { Fields } from './store/stored-object.ts';

export const SERVICE_CIDR_IPV4 = '10.96.0.0/16';
export const SERVICE_CIDR_IPV6 = 'fd96::/112';
export const KUBERNETES_SERVICE_IP = '10.96.0.1';
export const DNS_SERVICE_IP = '10.96.0.10';

/** Below it addresses are asked for by name (kubernetes, DNS); automatic ones start here. */
const AUTOMATIC_OFFSET_MIN = 256;
const OFFSET_MAX = 65534;
const NODE_PORT_MIN = 30000;
const NODE_PORT_MAX = 32767;
/** A chosen address is kept from others this long, until its Service is stored. */
const CLAIM_MS = 60_000;

export type IpFamily = 'IPv4' | 'IPv6';

export function serviceAddress(offset: number, family: IpFamily): string {
  if (family === 'IPv4') return `10.96.${offset >> 8}.${offset & 255}`;
  return `fd96::${offset.toString(16)}`;
}

/** The offset of an address within the ranges; undefined where it is in neither. */
export function serviceOffset(address: string): number | undefined {
  const v4 = /^10\.96\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  if (v4 !== null) {
    const offset = Number(v4[1]) * 256 + Number(v4[2]);
    return offset >= 1 && offset <= OFFSET_MAX && Number(v4[1]) < 256 && Number(v4[2]) < 256 ? offset : undefined;
  }
  const v6 = /^fd96::([0-9a-f]{1,4})$/i.exec(address);
  if (v6 === null) return undefined;
  const offset = Number.parseInt(v6[1]!, 16);
  return offset >= 1 && offset <= OFFSET_MAX ? offset : undefined;
}

export class ServiceAddresses {
  #store: Store;
  #now: () => number;
  #claims = new Map<string, number>();
  #next = AUTOMATIC_OFFSET_MIN;
  #nextPort = NODE_PORT_MIN;

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** The Service that has the address, if any. */
  ownerOf(address: string, except?: string): string | undefined {
    for (const entry of this.#store.list('services')) {
      if (entry.key !== except && (entry.object.spec?.clusterIPs ?? []).includes(address)) return entry.key;
    }
    return undefined;
  }

  /** Free addresses, one per family; undefined when none is left. */
  allocate(families: readonly IpFamily[]): string[] | undefined {
    const taken = new Set(this.#store.list('services').flatMap((entry) => entry.object.spec?.clusterIPs ?? []));
    for (let tried = AUTOMATIC_OFFSET_MIN; tried <= OFFSET_MAX; tried++) {
      const offset = this.#next;
      this.#next = this.#next === OFFSET_MAX ? AUTOMATIC_OFFSET_MIN : this.#next + 1;
      const addresses = families.map((family) => serviceAddress(offset, family));
      if (addresses.some((address) => taken.has(address) || this.#isClaimed(address))) continue;
      for (const address of addresses) this.#claims.set(address, this.#now() + CLAIM_MS);
      return addresses;
    }
    return undefined;
  }

  allocateNodePort(): number | undefined {
    const taken = new Set(
      this.#store
        .list('services')
        .flatMap((entry) => (entry.object.spec?.ports ?? []).map((port: Fields) => port.nodePort)),
    );
    for (let tried = NODE_PORT_MIN; tried <= NODE_PORT_MAX; tried++) {
      const port = this.#nextPort;
      this.#nextPort = this.#nextPort === NODE_PORT_MAX ? NODE_PORT_MIN : this.#nextPort + 1;
      if (!taken.has(port) && !this.#isClaimed(String(port))) {
        this.#claims.set(String(port), this.#now() + CLAIM_MS);
        return port;
      }
    }
    return undefined;
  }

  #isClaimed(what: string): boolean {
    const until = this.#claims.get(what);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#claims.delete(what);
    return false;
  }
}
