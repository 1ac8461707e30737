/** What a request asks for: verb, resource and name, from its method, path and query. */

export interface RequestInfo {
  method: string;
  path: string;
  query: URLSearchParams;
  isResource: boolean;
  /** get, list, watch, create, update, patch, delete, deletecollection; for other paths the method in lower case. */
  verb: string;
  group: string;
  version: string;
  plural: string;
  subresource: string;
  namespace: string | undefined;
  name: string | undefined;
  /** Path segments behind the sub-resource. */
  rest: string[];
}

export function parseRequest(method: string, url: string): RequestInfo {
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1));
  const info: RequestInfo = {
    method,
    path,
    query,
    isResource: false,
    verb: method.toLowerCase(),
    group: '',
    version: '',
    plural: '',
    subresource: '',
    namespace: undefined,
    name: undefined,
    rest: [],
  };
  const segments = path
    .split('/')
    .filter((segment) => segment !== '')
    .map(decodeSegment);
  let rest: string[];
  if (segments[0] === 'api' && segments.length >= 3) {
    info.version = segments[1]!;
    rest = segments.slice(2);
  } else if (segments[0] === 'apis' && segments.length >= 4) {
    info.group = segments[1]!;
    info.version = segments[2]!;
    rest = segments.slice(3);
  } else return info;

  info.isResource = true;
  if (rest[0] === 'watch' && rest.length > 1) {
    rest = rest.slice(1);
    query.set('watch', 'true');
  }
  if (rest[0] === 'namespaces' && rest.length >= 3 && rest[2] !== 'status' && rest[2] !== 'finalize') {
    info.namespace = rest[1]!;
    rest = rest.slice(2);
  } else if (rest[0] === 'namespaces' && rest.length >= 2) info.namespace = rest[1]!;
  info.plural = rest[0] ?? '';
  info.name = rest[1];
  info.subresource = rest[2] ?? '';
  info.rest = rest.slice(3);
  info.verb = verbOf(method, info);
  return info;
}

function verbOf(method: string, info: RequestInfo): string {
  const isWatch = ['true', '1'].includes(info.query.get('watch') ?? '');
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (info.name === undefined || (isWatch && info.subresource === ''))
        return isWatch ? 'watch' : info.name ? 'get' : 'list';
      return 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return info.name === undefined ? 'deletecollection' : 'delete';
    default:
      return method.toLowerCase();
  }
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // A malformed escape names nothing; kept as it is, it is answered by 404.
    return segment;
  }
}
