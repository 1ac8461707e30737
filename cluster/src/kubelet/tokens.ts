/** Service account tokens for projected volumes, bound to their pod, asked anew when 80 % of their life is over. */

import { MeshError, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';

const RENEW_AT = 0.8;
/** Also renewed after a day, however long they live, as the usual node agent does. */
const AGE_MS_MAX = 24 * 3600 * 1000;
/** What the API server accepts at least. */
const LIFETIME_S_MIN = 600;

interface Token {
  token: string;
  renewAtMs: number;
}

export class PodTokens {
  readonly #client: Client;
  readonly #tokens = new Map<string, Token>();

  constructor(client: Client) {
    this.#client = client;
  }

  async token(pod: Pod, audience: string | undefined, lifetimeS: number): Promise<string> {
    const key = `${pod.metadata.uid}|${audience ?? ''}|${lifetimeS}`;
    const known = this.#tokens.get(key);
    if (known && Date.now() < known.renewAtMs) return known.token;
    try {
      const fresh = await this.#request(pod, audience, lifetimeS);
      this.#tokens.set(key, fresh);
      return fresh.token;
    } catch (error) {
      // The old one still has a fifth of its life.
      if (known) return known.token;
      throw error;
    }
  }

  /** When the first of the pod's tokens is due; undefined when it has none. */
  renewAtMs(pod: Pod): number | undefined {
    const own = [...this.#tokens].filter(([key]) => key.startsWith(`${pod.metadata.uid}|`));
    return own.length > 0 ? Math.min(...own.map(([, token]) => token.renewAtMs)) : undefined;
  }

  forget(pod: Pod): void {
    for (const key of this.#tokens.keys()) if (key.startsWith(`${pod.metadata.uid}|`)) this.#tokens.delete(key);
  }

  async #request(pod: Pod, audience: string | undefined, lifetimeS: number): Promise<Token> {
    const { namespace, name, uid } = pod.metadata;
    const account = pod.spec?.serviceAccountName ?? 'default';
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        ...(audience ? { audiences: [audience] } : {}),
        expirationSeconds: Math.max(lifetimeS, LIFETIME_S_MIN),
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    };
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
    const askedAtMs = Date.now();
    const answer = await this.#client.request('POST', path, { body });
    const { status } = await answer.json<{ status?: { token?: string; expirationTimestamp?: string } }>();
    if (!status?.token) throw new MeshError('INTERNAL', `token of service account ${account}: empty answer`);
    const livesMs = Date.parse(status.expirationTimestamp ?? '') - askedAtMs || LIFETIME_S_MIN * 1000;
    return { token: status.token, renewAtMs: askedAtMs + Math.min(livesMs * RENEW_AT, AGE_MS_MAX) };
  }
}
