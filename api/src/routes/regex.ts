/**
 * Regular expressions of routes. Proxies read them with Rust's `regex` and match whole values; here they are checked, and
 * run for explanations, with JavaScript's after the few differences of syntax are evened out.
 */

/** Longer ones are refused, as by the schemas of the Gateway API. */
export const REGEX_CHARACTERS_MAX = 4096;

const INLINE_FLAGS = /^\(\?([imsx]+)\)/;
/** What Rust's crate cannot do because it runs in linear time. */
const NOT_IN_RUST = /\(\?(?:[=!]|<[=!]|>)|(?<!\\)(?:\\\\)*\\[1-9]/;

/** Matches whole values only; undefined where the text is no such expression. */
export function parseRegex(text: string): RegExp | undefined {
  if (text.length > REGEX_CHARACTERS_MAX || NOT_IN_RUST.test(text)) return undefined;
  const flags = INLINE_FLAGS.exec(text)?.[1]?.replaceAll('x', '') ?? '';
  const source = text.replace(INLINE_FLAGS, '').replaceAll('(?P<', '(?<').replaceAll('\\A', '^').replaceAll('\\z', '$');
  try {
    return new RegExp(`^(?:${source})$`, [...new Set(flags)].join(''));
  } catch {
    // Not an expression: the caller says where it was.
    return undefined;
  }
}
