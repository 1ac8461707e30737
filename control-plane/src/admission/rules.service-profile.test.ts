import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkProfile } from './profile-rules.ts';
import { objectOf } from './testing-rules.ts';

const NAME = 'web.app.svc.cluster.local';
const GET = { method: 'GET', pathRegex: '/x' };
const route = (fields: object = {}) => ({ routes: [{ name: 'a', condition: GET, ...fields }] });
const conditioned = (condition: unknown) => route({ condition });
const classed = (condition: unknown) => route({ responseClasses: [{ condition, isFailure: true }] });
const budget = (fields: object = {}) => ({
  retryBudget: { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: '10s', ...fields },
});

function check(spec: unknown, name = NAME) {
  const object = objectOf('linkerd.io/v1alpha2', 'ServiceProfile', spec);
  return checkProfile({ ...object, metadata: { ...object.metadata, name } });
}
const accepts = (what: string, spec: unknown) =>
  test(`lets in ${what}`, () => assert.deepEqual(check(spec), { warnings: [] }));
/** `words` are Linkerd's, in which people look for what is wrong; `field` is what we add. */
const refuses = (what: string, spec: unknown, words: string, field?: RegExp, name?: string) =>
  test(`refuses ${what}`, () => {
    const refusal = check(spec, name).refusal ?? 'let in';
    const [, found = refusal] = /^(?:ServiceProfile "[^"]*" )?(.*)$/s.exec(refusal)!;
    assert.equal(found.slice(0, words.length), words);
    if (field) {
      assert.match(refusal, field);
      assert.match(refusal, /: found .*allowed/s);
    }
  });

describe('ServiceProfile that is let in', () => {
  accepts('nothing', {});
  accepts('no spec', undefined);
  accepts('a route', route({ isRetryable: true, timeout: '300ms' }));
  accepts('a timeout that is empty', route({ timeout: '' }));
  accepts('nested conditions', {
    ...conditioned({
      ...GET,
      any: [
        { all: [{ method: 'POST' }, { pathRegex: '/authors/\\d+' }] },
        { all: [{ not: { method: 'DELETE' } }, { pathRegex: '/info.txt' }] },
      ],
    }),
    ...budget({ minRetriesPerSecond: 5, ttl: '10ms' }),
  });
  accepts(
    'nested response classes',
    classed({ status: { min: 500, max: 599 }, all: [{ status: { min: 500 } }, { not: { status: { min: 503 } } }] }),
  );
  accepts('a range without a minimum, as Go writes it', classed({ status: { min: 0, max: 499 } }));
  accepts('a budget', budget());
  accepts('overrides', {
    dstOverrides: [{ authority: 'a.b.svc.cluster.local:80', weight: '500m' }, { authority: 'b' }],
  });
  accepts('opaque ports', { opaquePorts: ['3306', '5000-5100'] });
});

describe('ServiceProfile that is refused', () => {
  const unknown =
    'failed to validate ServiceProfile: error unmarshaling JSON: while decoding JSON: json: unknown field';
  const badRequest = 'has a route with an invalid condition: ';
  const badResponse = 'has a response class with an invalid condition: ';

  refuses('a name that is none', {}, 'has invalid name: a DNS-1123 subdomain', /metadata\.name: found "\^\.\^"/, '^.^');
  refuses('a field of the spec', { foo: 1 }, `${unknown} "foo"`, /spec\.foo: found a field that is not known/);
  refuses('a field of a route', route({ foo: 1 }), `${unknown} "foo"`, /spec\.routes\[0\]\.foo: found/);
  refuses('a field of a condition', conditioned({ ...GET, foo: 1 }), `${unknown} "foo"`, /\.condition\.foo: found/);
  refuses(
    'a field of a nested condition',
    conditioned({ all: [{ verb: 'GET' }] }),
    `${unknown} "verb"`,
    /spec\.routes\[0\]\.condition\.all\[0\]\.verb: found/,
  );
  refuses('a route that is nothing', { routes: [null] }, 'has a nil route', /spec\.routes\[0\]/);
  refuses(
    'a route without a name',
    route({ name: '' }),
    'has a route with no name',
    /spec\.routes\[0\]\.name: found ""/,
  );
  refuses(
    'a timeout that is none',
    route({ timeout: 'soon' }),
    'has a route with an invalid timeout: time: invalid duration "soon"',
    /spec\.routes\[0\]\.timeout: found "soon"/,
  );
  for (const condition of [undefined, null]) {
    refuses(
      `the condition ${condition}`,
      conditioned(condition),
      'has a route with no condition',
      /spec\.routes\[0\]\.condition: found (nothing|null)/,
    );
  }
  const requestField = `${badRequest}A request match must have a field set`;
  refuses('an empty condition', conditioned({}), requestField, /spec\.routes\[0\]\.condition: found \{\}/);
  refuses('a condition of nothing', conditioned({ method: null }), requestField, /condition: found \{"method":null\}/);
  refuses('a condition of no text', conditioned({ method: '' }), requestField);
  refuses('an empty nested condition', conditioned({ any: [{}] }), requestField, /condition\.any\[0\]: found \{\}/);
  refuses('nothing in a list', conditioned({ all: [null] }), requestField, /condition\.all\[0\]: found null/);
  refuses('not nothing', conditioned({ not: {} }), requestField, /condition\.not: found \{\}/);
  const noClass = 'has a response class with no condition';
  refuses('a class without a condition', classed(undefined), noClass, /responseClasses\[0\]\.condition: found nothing/);
  const responseField = `${badResponse}A response match must have a field set`;
  refuses('a class with an empty condition', classed({}), responseField, /responseClasses\[0\]\.condition: found \{\}/);
  refuses(
    'a class with a nested empty condition',
    classed({ all: [{ status: null }] }),
    responseField,
    /all\[0\]: found/,
  );
  refuses(
    'a status above 599',
    classed({ status: { min: 500, max: 600 } }),
    `${badResponse}Range maximum must be between 100 and 599, inclusive`,
    /status\.max: found 600/,
  );
  refuses(
    'a status below 100',
    classed({ not: { status: { min: 1 } } }),
    `${badResponse}Range minimum must be between 100 and 599, inclusive`,
    /not\.status\.min: found 1/,
  );
  refuses(
    'a range backwards',
    classed({ all: [{ not: { status: { min: 300, max: 200 } } }] }),
    `${badResponse}Range maximum cannot be smaller than minimum`,
    /status\.max: found 200/,
  );
  refuses(
    'a status that is no number',
    classed({ status: { min: false } }),
    'failed to validate ServiceProfile: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal bool',
    /status\.min: found false/,
  );
  refuses(
    'a negative ratio',
    budget({ retryRatio: -0.2 }),
    'RetryBudget RetryRatio must be non-negative: -0.200000',
    /retryBudget\.retryRatio: found -0\.2/,
  );
  refuses('a budget without a ttl', budget({ ttl: undefined }), 'RetryBudget missing TTL field', /ttl: found nothing/);
  refuses(
    'a ttl that is none',
    budget({ ttl: 'foo' }),
    'RetryBudget: time: invalid duration "foo"',
    /ttl: found "foo"/,
  );
  refuses(
    'negative retries',
    budget({ minRetriesPerSecond: -5 }),
    'failed to validate ServiceProfile: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal number -5',
    /minRetriesPerSecond: found -5/,
  );
  refuses('a path that is no expression', conditioned({ pathRegex: '(' }), '', /pathRegex: found "\("/);
});

test('warns of a profile that no Service is called by', () => {
  assert.match(check({}, 'web').warnings[0]!, /no Service is called web/);
});
