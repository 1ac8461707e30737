/**
 * Service account tokens: JWTs signed with the cluster's key, bound to the account and, where asked, to a pod, a secret or
 * a node; good only while all of those are there.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import type { Store } from '../store/store.ts';
import type { Fields } from '../store/stored-object.ts';
import { AUTHENTICATED_GROUP, type User } from './authenticator.ts';

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
/** What tokens are for when nobody says. */
export const API_AUDIENCES: readonly string[] = [ISSUER, 'https://kubernetes.default.svc', 'kubernetes.default.svc'];
/** The real API server's bounds on the life of a token. */
export const EXPIRATION_S_MIN = 600;
export const EXPIRATION_S_MAX = 2 ** 32;
/** Longer texts are no tokens of ours. */
const TOKEN_LENGTH_MAX = 16 * 1024;
/** Verified signatures remembered; verifying costs 0.1 ms, and controllers send the same token each time. */
const VERIFIED_MAX = 1024;

export interface BoundObject {
  kind: string;
  apiVersion?: string;
  name: string;
  uid: string;
}

export type TokenReview = { user: User; audiences: string[]; claims: Fields } | { problem: string };

export class TokenAuthority {
  #privateKey: KeyObject;
  #publicKey: KeyObject;
  #keyId: string;
  #store: Store;
  #now: () => number;
  #verified = new Map<string, Fields>();

  constructor(privateKeyPem: string, store: Store, now: () => number) {
    this.#privateKey = createPrivateKey(privateKeyPem);
    this.#publicKey = createPublicKey(this.#privateKey);
    const der = this.#publicKey.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(der).digest('base64url');
    this.#store = store;
    this.#now = now;
  }

  /** The key set that anyone may verify tokens with. */
  jwks(): Fields {
    const jwk = this.#publicKey.export({ format: 'jwk' });
    return { keys: [{ use: 'sig', kid: this.#keyId, alg: 'ES256', ...jwk }] };
  }

  issue(
    account: { namespace: string; name: string; uid: string },
    options: {
      audiences: readonly string[];
      expirationSeconds: number;
      bound?: BoundObject;
      node?: { name: string; uid?: string };
    },
  ): { token: string; expiresMs: number } {
    const nowS = Math.floor(this.#now() / 1000);
    const { audiences, expirationSeconds, bound, node } = options;
    const claims: Fields = {
      aud: audiences,
      exp: nowS + expirationSeconds,
      iat: nowS,
      nbf: nowS,
      iss: ISSUER,
      jti: randomUUID(),
      sub: `system:serviceaccount:${account.namespace}:${account.name}`,
      'kubernetes.io': {
        namespace: account.namespace,
        serviceaccount: { name: account.name, uid: account.uid },
        ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        ...(node === undefined ? {} : { node }),
      },
    };
    const head = encode({ alg: 'ES256', kid: this.#keyId });
    const body = encode(claims);
    const signature = sign('sha256', Buffer.from(`${head}.${body}`), {
      key: this.#privateKey,
      dsaEncoding: 'ieee-p1363',
    });
    return { token: `${head}.${body}.${signature.toString('base64url')}`, expiresMs: claims.exp * 1000 };
  }

  /** Whether the token is good for one of the audiences, and for whom. */
  review(token: string, audiences: readonly string[] = API_AUDIENCES): TokenReview {
    const claims = this.#verify(token);
    if (claims === undefined) return { problem: 'invalid bearer token' };
    const nowS = this.#now() / 1000;
    if (claims.exp <= nowS) return { problem: 'service account token has expired' };
    if (claims.nbf > nowS + 60) return { problem: 'service account token is not valid yet' };
    const given: string[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
    const common = audiences.filter((audience) => given.includes(audience));
    if (common.length === 0) {
      return {
        problem: `token audiences ${JSON.stringify(given)} is invalid for the target audiences ${JSON.stringify(audiences)}`,
      };
    }
    const bound = claims['kubernetes.io'];
    const { namespace, serviceaccount } = bound;
    const account = this.#store.get('serviceaccounts', `${namespace}/${serviceaccount.name}`);
    if (account === undefined || account.object.metadata.uid !== serviceaccount.uid)
      return { problem: 'service account has been deleted' };
    const extra: Record<string, string[]> = { 'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`] };
    for (const [claim, storage] of [
      ['pod', 'pods'],
      ['secret', 'secrets'],
      ['node', 'nodes'],
    ] as const) {
      if (bound[claim] === undefined) continue;
      const key = claim === 'node' ? bound[claim].name : `${namespace}/${bound[claim].name}`;
      const entry = this.#store.get(storage, key);
      const isHolding = claim !== 'node' || bound.pod === undefined;
      if (isHolding && (entry === undefined || entry.object.metadata.uid !== bound[claim].uid))
        return { problem: `${claim} ${bound[claim].name} that the token is bound to has been deleted` };
      extra[`authentication.kubernetes.io/${claim}-name`] = [bound[claim].name];
      if (bound[claim].uid) extra[`authentication.kubernetes.io/${claim}-uid`] = [bound[claim].uid];
    }
    return {
      user: {
        name: claims.sub,
        uid: serviceaccount.uid,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, AUTHENTICATED_GROUP],
        extra,
      },
      audiences: common,
      claims,
    };
  }

  /** The claims of a token that we signed. */
  #verify(token: string): Fields | undefined {
    if (token.length > TOKEN_LENGTH_MAX) return undefined;
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    const [head, body, signature, ...rest] = token.split('.');
    if (head === undefined || body === undefined || signature === undefined || rest.length > 0) return undefined;
    const header = parse(head);
    if (header?.alg !== 'ES256' || header.kid !== this.#keyId) return undefined;
    const isGood = verify(
      'sha256',
      Buffer.from(`${head}.${body}`),
      { key: this.#publicKey, dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    );
    const claims = isGood ? parse(body) : undefined;
    if (claims?.iss !== ISSUER || claims['kubernetes.io']?.serviceaccount === undefined) return undefined;
    if (this.#verified.size >= VERIFIED_MAX) this.#verified.delete(this.#verified.keys().next().value!);
    this.#verified.set(token, claims);
    return claims;
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function parse(part: string): Fields | undefined {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    // What is not JSON is not a token of ours; the caller answers that.
    return undefined;
  }
}
