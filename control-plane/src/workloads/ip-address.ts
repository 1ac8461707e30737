/** Addresses and networks are read in `api/`, where resources that hold them are parsed. */
export {
  canonicalIp,
  formatIp,
  type IpAddress,
  type IpNetwork,
  networkContains,
  parseIp,
  parseNetwork,
} from '@tulle/api/ip-address.ts';
