/**
 * The Prometheus text exposition format, read into samples. Comments and timestamps are skipped; a malformed line is an error
 * that names it, because half a page of metrics would show wrong rates. https://prometheus.io/docs/instrumenting/exposition_formats
 */
import { MeshError } from './mesh-error.ts';

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const ESCAPES: Record<string, string> = { n: '\n', '\\': '\\', '"': '"' };

export function parseMetricsText(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    samples.push(parseSample(line));
  }
  return samples;
}

function parseSample(line: string): Sample {
  const brace = line.indexOf('{');
  const space = line.indexOf(' ');
  if (brace === -1 || (space !== -1 && space < brace)) {
    const value = parseValue(line.slice(space + 1), line);
    return { name: line.slice(0, space), labels: {}, value };
  }
  const labels: Record<string, string> = {};
  let at = brace + 1;
  while (line[at] !== '}') {
    const equals = line.indexOf('="', at);
    if (equals === -1) throw malformed(line);
    const label = line.slice(at, equals).trim();
    let value = '';
    let from = equals + 2;
    let to = from;
    for (; line[to] !== '"'; to++) {
      if (to >= line.length) throw malformed(line);
      if (line[to] !== '\\') continue;
      value += line.slice(from, to) + (ESCAPES[line[to + 1] ?? ''] ?? line[to + 1]);
      to += 1;
      from = to + 1;
    }
    labels[label] = value + line.slice(from, to);
    at = to + 1;
    if (line[at] === ',') at += 1;
  }
  return { name: line.slice(0, brace), labels, value: parseValue(line.slice(at + 1).trimStart(), line) };
}

function parseValue(text: string, line: string): number {
  const [word = ''] = text.split(' ');
  if (word === '+Inf') return Number.POSITIVE_INFINITY;
  if (word === '-Inf') return Number.NEGATIVE_INFINITY;
  if (word === 'NaN') return Number.NaN;
  const value = Number(word);
  if (word === '' || Number.isNaN(value)) throw malformed(line);
  return value;
}

function malformed(line: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', `parse metrics: malformed line ${JSON.stringify(line.slice(0, 200))}`);
}
