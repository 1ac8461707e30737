import assert from 'node:assert/strict';
import test from 'node:test';
import { parseRegex, REGEX_CHARACTERS_MAX } from './regex.ts';

test('matches whole values', () => {
  assert.equal(parseRegex('/a|/b')?.test('/a'), true);
  assert.equal(parseRegex('/a|/b')?.test('/ab'), false);
  assert.equal(parseRegex('(?i)/A+')?.test('/aa'), true);
  assert.equal(parseRegex('(?P<name>x)\\z')?.test('x'), true);
  assert.equal(parseRegex('[{}]+\\p{L}?')?.test('{}'), true);
  assert.equal(parseRegex('\\/v[0-9]{1,2}\\.\\d')?.test('/v12.3'), true);
});

for (const text of ['(', '[a', 'a{', 'a{,3}', '(?=a)b', '(?<!a)b', '(a)\\1', '\\e', '\\k<a>', '*']) {
  test(`is no expression of Rust's: ${text}`, () => assert.equal(parseRegex(text), undefined));
}

test('has a limit', () => {
  assert.equal(parseRegex('a'.repeat(REGEX_CHARACTERS_MAX + 1)), undefined);
  assert.ok(parseRegex('a'.repeat(REGEX_CHARACTERS_MAX)));
});
