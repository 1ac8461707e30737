/** Paths that are of no resource: health, version, discovery, OpenAPI, the keys of tokens. */
import { ISSUER } from '../authentication/token-authority.ts';
import type { ApiRequest } from './context.ts';
import { handleDiscovery, versionInfo } from './discovery.ts';
import type { Services } from './dispatch.ts';
import { handleOpenApi } from './openapi.ts';
import { sendJson } from './respond.ts';
import { methodNotAllowed, noSuchPath } from './status.ts';

export function handlePath(services: Services, request: ApiRequest): void {
  const { info } = request;
  if (info.method !== 'GET' && info.method !== 'HEAD') throw methodNotAllowed();
  const path = info.path.replace(/(?<=.)\/$/, '');
  switch (path.split('/')[1]) {
    case 'healthz':
    case 'livez':
    case 'readyz':
      sendHealth(request, path.split('/')[1] !== 'readyz' || services.isReady());
      break;
    case 'version':
      sendJson(request, 200, JSON.stringify(versionInfo(), null, 2));
      break;
    case 'api':
    case 'apis':
      handleDiscovery(request);
      break;
    case 'openapi':
      handleOpenApi(request);
      break;
    case 'openid':
    case '.well-known':
      sendJson(request, 200, JSON.stringify(tokenDocument(services, path)));
      break;
    default:
      throw noSuchPath();
  }
}

function sendHealth({ info, incoming, outgoing }: ApiRequest, isOk: boolean): void {
  const verbose = `[+]ping ok\n${isOk ? '[+]' : '[-]'}controllers ${isOk ? 'ok' : 'failed'}\n${info.path.slice(1)} check ${isOk ? 'passed' : 'failed'}\n`;
  const text = info.query.has('verbose') ? verbose : isOk ? 'ok' : 'starting';
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) };
  outgoing.writeHead(isOk ? 200 : 500, headers);
  outgoing.end(incoming.method === 'HEAD' ? undefined : text);
}

/** What others need to verify service account tokens on their own. */
function tokenDocument({ tokens }: Services, path: string): object {
  if (path === '/openid/v1/jwks') return tokens.jwks();
  if (path !== '/.well-known/openid-configuration') throw noSuchPath();
  return {
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/openid/v1/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  };
}
