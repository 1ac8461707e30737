/** Whose token it is: the API server says. */
import { type KubeObject, MeshError, TOKEN_REVIEWS } from '@tulle/api';
import type { Client } from '@tulle/client';

export interface ServiceAccount {
  namespace: string;
  name: string;
  uid?: string;
}

export type ReviewToken = (token: string) => Promise<ServiceAccount>;

/** The audience of the tokens that the injector mounts; older ones are the API server's own. */
const AUDIENCE = 'identity.l5d.io';
const USER_PREFIX = 'system:serviceaccount:';

/**
 * @throws MeshError `UNAUTHENTICATED` for a token that is not good, `INVALID_ARGUMENT` for one of something else than a
 * service account, `UNAVAILABLE` when the API server cannot be asked.
 */
export function createTokenReview(client: Pick<Client, 'create'>): ReviewToken {
  async function review(token: string, audiences?: string[]): Promise<KubeObject['status']> {
    const object = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences } };
    try {
      return (await client.create<KubeObject>(TOKEN_REVIEWS, object)).status ?? {};
    } catch (cause) {
      throw new MeshError('UNAVAILABLE', `review token: ${MeshError.from(cause).message}`, { cause });
    }
  }

  return async (token) => {
    let status = await review(token, [AUDIENCE]);
    if (!isFor(status, AUDIENCE)) status = await review(token);
    if (status.authenticated !== true) throw new MeshError('UNAUTHENTICATED', 'the token could not be authenticated');
    return parseUser(status.user);
  };
}

/** A server that does not know audiences names none. */
function isFor(status: KubeObject['status'], audience: string): boolean {
  const audiences: string[] = status.audiences ?? [];
  return status.authenticated === true && (audiences.length === 0 || audiences.includes(audience));
}

function parseUser(user: { username?: string; uid?: string } | undefined): ServiceAccount {
  const username = user?.username ?? '';
  const [namespace, name, ...rest] = username.slice(USER_PREFIX.length).split(':');
  if (!username.startsWith(USER_PREFIX) || !namespace || !name || rest.length > 0) {
    throw new MeshError('INVALID_ARGUMENT', `the token is of "${username}", not of a service account`);
  }
  return { namespace, name, uid: user?.uid };
}
