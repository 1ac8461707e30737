/** Routes from a protobuf file: one for each method of its services. Reads just as much of the language as that takes. */
import { MeshError } from '@tulle/api';
import { type PrintedRoute, quoteRegex } from './profile-object.ts';

/** Strings and comments are taken whole, so that nothing in them counts. */
const TOKEN = /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][\w.]*|[\s\S]/g;

/** @throws MeshError `INVALID_ARGUMENT` when a service cannot be read; `source` names the file. */
export function protobufRoutes(text: string, source: string): PrintedRoute[] {
  const tokens = (text.match(TOKEN) ?? []).filter((token) => !/^(\s|\/\/|\/\*)/.test(token));
  const routes: PrintedRoute[] = [];
  let packageName = '';
  let depth = 0;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token === '{') depth++;
    else if (token === '}') depth--;
    else if (depth === 0 && token === 'package') packageName = word(tokens[i + 1], 'package', source);
    else if (depth === 0 && token === 'service' && tokens[i + 2] === '{') {
      const service = word(tokens[i + 1], 'service', source);
      const end = endOfBlock(tokens, i + 2);
      if (end === undefined) throw new MeshError('INVALID_ARGUMENT', `read ${source}: service ${service} has no end`);
      for (const { name, isRetryable } of methods(tokens.slice(i + 3, end), service, source)) {
        const path = `/${packageName ? `${packageName}.` : ''}${service}/${name}`;
        const condition = { method: 'POST', pathRegex: quoteRegex(path) };
        routes.push({ name, condition, ...(isRetryable ? { isRetryable } : {}) });
      }
      i = end;
    }
  }
  if (routes.length === 0) throw new MeshError('INVALID_ARGUMENT', `read ${source}: no service with methods found`);
  return routes;
}

/** What may be done twice, by its own word: `option idempotency_level = IDEMPOTENT;`. */
const REPEATABLE = new Set(['IDEMPOTENT', 'NO_SIDE_EFFECTS']);

interface Method {
  name: string;
  isRetryable?: true;
}

function methods(tokens: readonly string[], service: string, source: string): Method[] {
  const found: Method[] = [];
  let depth = 0;
  for (const [i, token] of tokens.entries()) {
    if (token === '{') depth++;
    else if (token === '}') depth--;
    else if (depth === 0 && token === 'rpc' && tokens[i + 2] === '(')
      found.push({ name: word(tokens[i + 1], `a method of service ${service}`, source) });
    else if (depth === 1 && token === 'idempotency_level' && REPEATABLE.has(tokens[i + 2] ?? '')) {
      const method = found.at(-1);
      if (method && tokens[i - 1] === 'option' && tokens[i + 1] === '=') method.isRetryable = true;
    }
  }
  return found;
}

function endOfBlock(tokens: readonly string[], start: number): number | undefined {
  let depth = 0;
  for (let i = start; i < tokens.length; i++) {
    if (tokens[i] === '{') depth++;
    else if (tokens[i] === '}' && --depth === 0) return i;
  }
  return undefined;
}

function word(token: string | undefined, what: string, source: string): string {
  if (token !== undefined && /^[A-Za-z_]/.test(token)) return token;
  throw new MeshError('INVALID_ARGUMENT', `read ${source}: ${what}: found ${token ?? 'the end'}, allowed is a name`);
}
