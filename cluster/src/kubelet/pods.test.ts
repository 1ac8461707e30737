import { join } from 'node:path';
import { test } from 'node:test';
import { runInside, whyNotInside } from './testing/run-inside.ts';

for (const user of ['self', 'nobody'] as const) {
  const skip = whyNotInside(user) ?? false;
  const who = user === 'self' ? 'the present user' : 'a user without privileges';
  for (const [what, file] of [
    ['runs pods', 'pods.inside.ts'],
    ['connects pods', 'pod-network.inside.ts'],
  ] as const)
    test(`${what} as ${who}`, { skip }, () => runInside(join(import.meta.dirname, file), user));
}
