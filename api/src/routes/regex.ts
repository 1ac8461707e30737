/**
 * Regular expressions of routes. Proxies read them with Rust's `regex` and match whole values; here they are checked, and
 * run for explanations, with JavaScript's after the few differences of syntax are evened out.
 */

/** Longer ones are refused, as by the schemas of the Gateway API. */
export const REGEX_CHARACTERS_MAX = 4096;

const INLINE_FLAGS = /^\(\?([imsx]+)\)/;
/** One piece at a time: an escape and what is in braces behind it, a class, a repetition, anything else. */
const PIECES =
  /\\(?:([pPxuU])\{[^}]*\}|(.))|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|(\(\?(?:[=!>]|<[=!]))|(\{)|./gs;
/** The letters that mean something after a backslash; digits would refer back, which takes more than linear time. */
const ESCAPES = /^[afnrtvxuUpPdDsSwWbBAz]$/;

/** Matches whole values only; undefined where the text is no such expression. */
export function parseRegex(text: string): RegExp | undefined {
  if (text.length > REGEX_CHARACTERS_MAX || !isRust(text)) return undefined;
  const flags = INLINE_FLAGS.exec(text)?.[1]?.replaceAll('x', '') ?? '';
  const source = text.replace(INLINE_FLAGS, '').replaceAll('(?P<', '(?<').replaceAll('\\A', '^').replaceAll('\\z', '$');
  const unique = [...new Set(flags)].join('');
  // Unicode is Rust's way; without it JavaScript takes more escapes.
  return compile(`^(?:${source})$`, `${unique}u`) ?? compile(`^(?:${source})$`, unique);
}

function compile(source: string, flags: string): RegExp | undefined {
  try {
    return new RegExp(source, flags);
  } catch {
    // Not an expression: the caller says where it was.
    return undefined;
  }
}

/** False for what JavaScript takes and Rust does not: look-around, references back, unknown escapes, bare braces. */
function isRust(text: string): boolean {
  for (const [, , escaped, lookAround, brace] of text.matchAll(PIECES)) {
    if (lookAround !== undefined || brace !== undefined) return false;
    if (escaped !== undefined && /[A-Za-z0-9]/.test(escaped) && !ESCAPES.test(escaped)) return false;
  }
  return true;
}
