/** Who is asking: a client certificate of the cluster's own CA, a service account token, or nobody. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { failure } from '../apiserver/status.ts';
import type { TokenAuthority } from './token-authority.ts';

export interface User {
  name: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

export const ANONYMOUS: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
export const AUTHENTICATED_GROUP = 'system:authenticated';

export interface Authenticator {
  /** Throws 401 where credentials were given that are not good; without any the answer is ANONYMOUS. */
  authenticate(request: IncomingMessage): User;
}

export function createAuthenticator(tokens: TokenAuthority): Authenticator {
  return {
    authenticate: (request) => {
      const { authorization } = request.headers;
      if (authorization !== undefined) {
        const match = /^bearer +(\S+)$/i.exec(authorization.trim());
        const review = match === null ? undefined : tokens.review(match[1]!);
        if (review === undefined || 'problem' in review) throw unauthorized();
        return review.user;
      }
      return userOfConnection(request.socket as TLSSocket);
    },
  };
}

export const unauthorized = () => failure(401, 'Unauthorized', 'Unauthorized');

/** Reading a certificate costs 0.4 ms; a connection has the same one for all its requests. */
const users = new WeakMap<TLSSocket, User>();

function userOfConnection(socket: TLSSocket): User {
  let user = users.get(socket);
  if (user === undefined) {
    user = certificateUser(socket) ?? ANONYMOUS;
    users.set(socket, user);
  }
  return user;
}

/** The subject of a client certificate that the cluster's CA has signed: CN is the user, O are its groups. */
function certificateUser(socket: TLSSocket): User | undefined {
  if (typeof socket.getPeerCertificate !== 'function') return undefined;
  const certificate = socket.getPeerCertificate();
  if (certificate?.subject === undefined) return undefined;
  if (!socket.authorized) throw unauthorized();
  const { CN, O } = certificate.subject as { CN?: string | string[]; O?: string | string[] };
  const name = Array.isArray(CN) ? CN[0] : CN;
  if (!name) throw unauthorized();
  const groups = O === undefined ? [] : Array.isArray(O) ? O : [O];
  return { name, groups: [...groups, AUTHENTICATED_GROUP] };
}
