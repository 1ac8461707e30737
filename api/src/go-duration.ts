/** Go's `time.ParseDuration` as far as what it refuses, with its words: tools compare them. */

/** What is wrong with the text; undefined where it is a duration. */
export function goDurationProblem(text: string): string | undefined {
  let rest = text.replace(/^[-+]/, '');
  if (rest === '0') return undefined;
  const invalid = `time: invalid duration ${quote(text)}`;
  if (rest === '') return invalid;
  while (rest !== '') {
    const number = /^(?:\d+(?:\.\d*)?|\.\d+)/.exec(rest)?.[0];
    if (number === undefined) return invalid;
    rest = rest.slice(number.length);
    const unit = /^[^.\d]*/.exec(rest)![0];
    if (unit === '') return `time: missing unit in duration ${quote(text)}`;
    if (!UNITS.has(unit)) return `time: unknown unit ${quote(unit)} in duration ${quote(text)}`;
    rest = rest.slice(unit.length);
  }
  return undefined;
}

const UNITS = new Set(['ns', 'us', 'µs', 'μs', 'ms', 's', 'm', 'h']);

/** Go's quotation: `"` and `\` escaped, bytes outside ASCII as `\x`. */
function quote(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => {
    if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
    return byte >= 0x20 && byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `"${escaped.join('')}"`;
}
