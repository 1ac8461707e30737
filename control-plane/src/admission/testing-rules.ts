/** What the tests of admission rules share: a row is a test that lets an object in, or refuses it and names the field. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { checkPolicy, type Verdict } from './rules.ts';

export const POLICY = 'policy.linkerd.io';
export const GATEWAY = 'gateway.networking.k8s.io';

type Check = (object: KubeObject) => Verdict;
type Annotations = Record<string, string>;

/** An object named `web` in namespace `app`. */
export function objectOf(apiVersion: string, kind: string, spec: unknown, annotations: Annotations = {}): KubeObject {
  const metadata = { name: 'web', namespace: 'app', annotations };
  return { apiVersion, kind, metadata, spec } as unknown as KubeObject;
}

export interface Rules {
  accepts(what: string, spec: unknown, annotations?: Annotations): void;
  /** `message` is what the refusal says of the field. */
  refuses(what: string, spec: unknown, message: RegExp, annotations?: Annotations): void;
  /** Lets in, and says so. */
  warns(what: string, spec: unknown, message: RegExp, annotations?: Annotations): void;
}

export function rulesOf(group: string, kind: string, version: string, check?: Check): Rules {
  const verdict = (spec: unknown, annotations?: Annotations) => {
    const object = objectOf(`${group}/${version}`, kind, spec, annotations);
    return check ? check(object) : checkPolicy(group, kind, object);
  };
  return {
    accepts: (what, spec, annotations) => {
      test(`lets in ${what}`, () => assert.deepEqual(verdict(spec, annotations), { warnings: [] }));
    },
    refuses: (what, spec, message, annotations) => {
      test(`refuses ${what}`, () => {
        const { refusal } = verdict(spec, annotations);
        assert.match(refusal ?? 'let in', message);
        assert.match(refusal ?? '', /: found .*allowed/s);
      });
    },
    warns: (what, spec, message, annotations) => {
      test(`warns of ${what}`, () => {
        const { refusal, warnings } = verdict(spec, annotations);
        assert.equal(refusal, undefined);
        assert.match(warnings.join('\n'), message);
      });
    },
  };
}

/** A reference, to a kind of our group unless another is given. */
export const refTo = (kind: string, name = 'web', group = POLICY) => ({ group, kind, name });

type NetworkRow = readonly [what: string, networks: unknown];

export const NETWORKS: readonly NetworkRow[] = [
  ['a network with an exception', [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }]],
  ['two networks', [{ cidr: '10.1.0.0/24' }, { cidr: '10.1.1.0/24', except: ['10.1.1.0/28'] }]],
  ['an address', [{ cidr: '10.0.0.1' }]],
  ['an exception of one address', [{ cidr: '10.1.0.0/16', except: ['10.1.1.1'] }]],
  ['an IPv6 network', [{ cidr: 'fd00::/8', except: ['fd01::/16'] }]],
];

export const BAD_NETWORKS: readonly (readonly [...NetworkRow, message: RegExp])[] = [
  ['no network', [{ cidr: 'anywhere' }], /networks\[0\]\.cidr: found "anywhere"/],
  ['too long a prefix', [{ cidr: '10.0.0.0/33' }], /networks\[0\]\.cidr: found "10\.0\.0\.0\/33"/],
  [
    'an exception that is none',
    [{ cidr: '10.1.0.0/16', except: ['bogus'] }],
    /networks\[0\]\.except\[0\]: found "bogus"/,
  ],
  ['an exception elsewhere', [{ cidr: '10.1.1.0/24', except: ['10.1.2.0/24'] }], /networks\[0\]\.except\[0\]/],
  ['an exception of everything', [{ cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] }], /networks\[0\]\.except\[0\]/],
  ['an exception of more', [{ cidr: '10.1.1.0/24', except: ['10.1.0.0/16'] }], /networks\[0\]\.except\[0\]/],
  ['an exception of the other family', [{ cidr: '10.0.0.0/8', except: ['fd00::/8'] }], /networks\[0\]\.except\[0\]/],
  ['a network without cidr', [{ except: ['10.0.0.0/8'] }], /networks\[0\]\.cidr: found nothing/],
];
