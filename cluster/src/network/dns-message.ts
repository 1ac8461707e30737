/** One DNS query → one answer, on the wire (RFC 1035, RFC 6891). Pure but for the records behind it. */

import packet from 'dns-packet';
import type { createDnsRecords, DnsRecord } from './dns-records.ts';

/** That of the usual cluster DNS: names change as pods come and go. */
const TTL_S = 5;
const NO_ERROR = 0;
const FORMAT_ERROR = 1;
const NAME_ERROR = 3;
const NOT_IMPLEMENTED = 4;
const UDP_BYTES_MIN = 512;
/** What passes every link without fragments (DNS flag day 2020). */
const UDP_BYTES_MAX = 1232;

export type DnsRecords = ReturnType<typeof createDnsRecords>;

/** The answer to `query`; undefined when it is not even a query. `overUdp` cuts what is too long for the asker. */
export function answerDns(query: Buffer, records: DnsRecords, domain: string, overUdp: boolean): Buffer | undefined {
  if (query.length < 12 || (query.readUInt8(2) & 0x80) !== 0) return undefined;
  const id = query.readUInt16BE(0);
  let asked: packet.DecodedPacket;
  try {
    asked = packet.decode(query);
  } catch {
    return packet.encode({ type: 'response', id, flags: FORMAT_ERROR });
  }
  const [question] = asked.questions ?? [];
  const opcode = (query.readUInt8(2) >> 3) & 15;
  if (opcode !== 0 || !question || asked.questions?.length !== 1)
    return packet.encode({ type: 'response', id, flags: opcode === 0 ? FORMAT_ERROR : NOT_IMPLEMENTED });

  const edns = asked.additionals?.find((record) => record.type === 'OPT');
  const options: packet.Answer[] = edns
    ? [{ type: 'OPT', name: '.', udpPayloadSize: UDP_BYTES_MAX, flags: 0, options: [] } as unknown as packet.Answer]
    : [];
  const { exists, answers, additionals } = records.resolve(question.name.toLowerCase(), question.type);
  const base =
    packet.AUTHORITATIVE_ANSWER | packet.RECURSION_AVAILABLE | ((asked.flags ?? 0) & packet.RECURSION_DESIRED);
  const response: packet.Packet = {
    type: 'response',
    id,
    flags: base | (exists ? NO_ERROR : NAME_ERROR),
    questions: [question],
    answers: answers.map(wire),
    authorities: answers.length === 0 ? [startOfAuthority(domain)] : [],
    additionals: [...additionals.map(wire), ...options],
  };
  const bytes = packet.encode(response);
  const payload = (edns as { udpPayloadSize?: number } | undefined)?.udpPayloadSize ?? UDP_BYTES_MIN;
  const bytesMax = Math.max(UDP_BYTES_MIN, Math.min(payload, UDP_BYTES_MAX));
  if (!overUdp || bytes.length <= bytesMax) return bytes;
  const withoutAdditionals = packet.encode({ ...response, additionals: options });
  if (withoutAdditionals.length <= bytesMax) return withoutAdditionals;
  return packet.encode({
    ...response,
    flags: (response.flags ?? 0) | packet.TRUNCATED_RESPONSE,
    answers: [],
    additionals: options,
  });
}

function wire(record: DnsRecord): packet.Answer {
  return { ...record, ttl: TTL_S, class: 'IN' } as packet.Answer;
}

function startOfAuthority(domain: string): packet.Answer {
  const serial = Math.floor(Date.now() / 1000);
  const times = { serial, refresh: 7200, retry: 1800, expire: 86_400, minimum: TTL_S };
  const data = { mname: `ns.dns.${domain}`, rname: `hostmaster.${domain}`, ...times };
  return { type: 'SOA', name: domain, ttl: TTL_S, class: 'IN', data };
}
