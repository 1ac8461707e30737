/** The rules for names, labels, annotations and quantities, with the words of the real API server. */

const labelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const label1035Pattern = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedPattern = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValuePattern = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const quantityPattern = /^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$/;

export function dnsLabel(name: string): string | undefined {
  if (name.length > 63) return 'must be no more than 63 characters';
  if (labelPattern.test(name)) return undefined;
  return (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with " +
    `an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`
  );
}

export function dnsSubdomain(name: string): string | undefined {
  if (name.length > 253) return 'must be no more than 253 characters';
  if (subdomainPattern.test(name)) return undefined;
  return (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
    `'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`
  );
}

export function dns1035Label(name: string): string | undefined {
  if (name.length > 63) return 'must be no more than 63 characters';
  if (label1035Pattern.test(name)) return undefined;
  return (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and " +
    "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is " +
    `'[a-z]([-a-z0-9]*[a-z0-9])?')`
  );
}

/** Names that only must be one path segment: roles, bindings. */
export function pathSegment(name: string): string | undefined {
  if (name === '.' || name === '..') return `may not be '${name}'`;
  for (const part of ['/', '%']) if (name.includes(part)) return `may not contain '${part}'`;
  return undefined;
}

export function qualifiedNameRule(name: string): string | undefined {
  const parts = name.split('/');
  if (parts.length > 2)
    return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
  if (parts.length === 2) {
    if (parts[0] === '') return 'prefix part must be non-empty';
    const problem = dnsSubdomain(parts[0]!);
    if (problem !== undefined) return `prefix part ${problem}`;
  }
  const last = parts.at(-1)!;
  if (last === '') return 'name part must be non-empty';
  if (last.length > 63) return 'name part must be no more than 63 characters';
  if (qualifiedPattern.test(last)) return undefined;
  return (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
    `'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`
  );
}

export function labelValueRule(value: string): string | undefined {
  if (value.length > 63) return 'must be no more than 63 characters';
  if (labelValuePattern.test(value)) return undefined;
  return (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
    `'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`
  );
}

export function isQuantity(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'string' || !quantityPattern.test(value)) return false;
  return /^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$/.test(value);
}
