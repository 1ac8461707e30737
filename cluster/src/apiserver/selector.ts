/** Label and field selectors: from query text or from a LabelSelector object to a predicate. */

import { meets } from '@tulle/api/label-selector.ts';
import type { Resource } from '../resources/resource.ts';
import type { Fields } from '../store/stored-object.ts';
import { badRequest } from './status.ts';

export type LabelPredicate = (labels: Record<string, string> | undefined) => boolean;

interface Requirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';
  values: string[];
}

/** Parses `a=b,c!=d,e in (f,g),!h,i>3`. An empty text selects everything. */
export function parseLabelSelector(text: string): LabelPredicate {
  return compile(parseRequirements(text));
}

export function labelSelectorPredicate(selector: Fields | undefined): LabelPredicate {
  if (selector === undefined) return () => false;
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    requirements.push({ key, operator: 'In', values: [String(value)] });
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    requirements.push({ key, operator, values: values ?? [] });
  }
  return compile(requirements);
}

/** The text form of a LabelSelector object, as `scale` shows it. */
export function labelSelectorText(selector: Fields | undefined): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) parts.push(`${key}=${value}`);
  for (const { key, operator, values } of selector?.matchExpressions ?? []) {
    if (operator === 'Exists') parts.push(key);
    else if (operator === 'DoesNotExist') parts.push(`!${key}`);
    else parts.push(`${key} ${operator === 'In' ? 'in' : 'notin'} (${(values ?? []).join(',')})`);
  }
  return parts.sort().join(',');
}

function compile(requirements: Requirement[]): LabelPredicate {
  return (labels) => requirements.every(({ key, operator, values }) => meets(labels?.[key], operator, values));
}

function parseRequirements(text: string): Requirement[] {
  const requirements: Requirement[] = [];
  let rest = text.trim();
  const fail = () => badRequest(`unable to parse requirement: found '${rest}', in the label selector '${text}'`);
  while (rest !== '') {
    const set = /^([^\s,!=<>()]+)\s+(in|notin)\s*\(([^()]*)\)\s*/.exec(rest);
    const plain = /^([^\s,!=<>()]+)\s*(==|=|!=|>|<)\s*([^\s,!=<>()]*)\s*/.exec(rest);
    const absent = /^!\s*([^\s,!=<>()]+)\s*/.exec(rest);
    const present = /^([^\s,!=<>()]+)\s*(?=,|$)/.exec(rest);
    const match = set ?? plain ?? absent ?? present;
    if (match === null) throw fail();
    if (set !== null) {
      const values = set[3]!.split(',').map((value) => value.trim());
      requirements.push({ key: set[1]!, operator: set[2] === 'in' ? 'In' : 'NotIn', values });
    } else if (plain !== null) {
      const operator = plain[2] === '!=' ? 'NotIn' : plain[2] === '>' ? 'Gt' : plain[2] === '<' ? 'Lt' : 'In';
      requirements.push({ key: plain[1]!, operator, values: [plain[3]!] });
    } else {
      requirements.push({ key: match[1]!, operator: absent !== null ? 'DoesNotExist' : 'Exists', values: [] });
    }
    rest = rest.slice(match[0].length);
    if (rest === '') break;
    if (!rest.startsWith(',')) throw fail();
    rest = rest.slice(1).trim();
    if (rest === '') throw fail();
  }
  return requirements;
}

export type FieldPredicate = (object: Fields) => boolean;

/** Parses `metadata.name=a,status.phase!=b`; a field that the kind does not select by is a 400. */
export function parseFieldSelector(text: string, resource: Resource): FieldPredicate {
  const tests: FieldPredicate[] = [];
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(part.trim());
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
    const read = selectableField(match[1]!, resource);
    if (read === undefined) throw badRequest(`field label not supported: ${match[1]}`);
    const isEqual = match[2] !== '!=';
    const wanted = match[3]!.replaceAll(/\\(.)/g, '$1');
    tests.push((object) => (read(object) === wanted) === isEqual);
  }
  return (object) => tests.every((test) => test(object));
}

function selectableField(field: string, resource: Resource): ((object: Fields) => string) | undefined {
  if (field === 'metadata.name') return (object) => object.metadata.name;
  if (field === 'metadata.namespace' && resource.namespaced) return (object) => object.metadata.namespace ?? '';
  return resource.selectableFields[field];
}
