/** The table of kinds and verbs of the API server, in Markdown, made from what it serves. */
import { builtinResources } from '../resources/builtin.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import { KUBERNETES_VERSION, subresourcesOf } from './discovery.ts';

const verbLetters: Record<string, string> = {
  get: 'get',
  list: 'list',
  watch: 'watch',
  create: 'create',
  update: 'update',
  patch: 'patch',
  delete: 'delete',
  deletecollection: 'delete all',
};

export function apiTable(): string {
  const lines = builtinResources.map(row);
  return `# What the one-machine cluster's API server has

Made from the code by \`node cluster/scripts/api-table.ts\`. It answers like Kubernetes ${KUBERNETES_VERSION.gitVersion.split('+')[0]}; what is not in
this table is answered by 404 or 405.

| kind | group/version | verbs | sub-resources |
|---|---|---|---|
${lines.join('\n')}

Kinds of CustomResourceDefinitions are served with all verbs, \`/status\` and \`/scale\` where they ask for them. Their schemas
are structural (pruning, defaults, validation); versions are converted with strategy None; CEL rules are not evaluated.

\`patch\` is JSON patch, merge patch, strategic merge patch (built-in kinds only) and server-side apply. Bodies are JSON, YAML
or Kubernetes protobuf; answers are JSON, as an object, a Table or PartialObjectMetadata.

Other paths: \`/healthz\`, \`/livez\`, \`/readyz\`, \`/version\`, \`/api\`, \`/apis\` (also aggregated), \`/openapi/v3\`, \`/openapi/v2\`
(without schemas), \`/openid/v1/jwks\`, \`/.well-known/openid-configuration\`.
`;
}

function row(resource: Resource): string {
  const verbs = Object.keys(verbLetters).filter((verb) => (resource.verbs as readonly string[]).includes(verb));
  const isFull = verbs.length === Object.keys(verbLetters).length;
  const subresources = subresourcesOf(resource).map((sub) => `${sub.name} (${sub.verbs.join(', ')})`);
  const scope = resource.namespaced ? '' : ', cluster-wide';
  return `| ${resource.kind}${scope} | ${apiVersionOf(resource)} | ${isFull ? 'all' : verbs.map((verb) => verbLetters[verb]).join(', ')} | ${subresources.join('; ')} |`;
}
