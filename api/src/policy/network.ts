/** Networks with exceptions, as policies write them: `{ cidr: 10.0.0.0/8, except: [10.9.0.0/16] }`. */
import type { Field } from '../field.ts';
import { type IpAddress, type IpNetwork, networkContains, networkIncludes, parseNetwork } from '../ip-address.ts';

export interface NetworkMatch {
  readonly network: IpNetwork;
  readonly except: readonly IpNetwork[];
}

const FIELDS = ['cidr', 'except'];
const LIST = 'a list of networks';
const NETWORK = 'an address or a network such as 10.0.0.0/8';

/** The elements of a list of networks; one with any part that cannot be read is left out and refused. */
export function readNetworks(field: Field): NetworkMatch[] {
  return field.items(LIST).flatMap((item) => {
    const fields = item.only(...FIELDS).keys();
    const isWhole = fields.every((key) => FIELDS.includes(key));
    const network = readNetwork(item.get('cidr'));
    const exceptions = item.get('except').items(LIST);
    const except = exceptions.map((exception) => readException(exception, network));
    return isWhole && network && except.every((each) => each !== undefined) ? [{ network, except }] : [];
  });
}

function readNetwork(field: Field): IpNetwork | undefined {
  const network = typeof field.value === 'string' ? parseNetwork(field.value) : undefined;
  return network ?? field.refuse(NETWORK);
}

function readException(field: Field, network: IpNetwork | undefined): IpNetwork | undefined {
  const except = readNetwork(field);
  if (!except || !network) return except;
  if (networkIncludes(except, network)) return field.refuse('a part of the cidr, not all of it');
  return networkIncludes(network, except) ? except : field.refuse('a part of the cidr');
}

export function networkMatches({ network, except }: NetworkMatch, address: IpAddress): boolean {
  return networkContains(network, address) && !except.some((each) => networkContains(each, address));
}
