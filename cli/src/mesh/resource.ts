/** Resources as arguments name them: `deploy`, `deploy/web`, `deploy web`, and what their series are labelled with. */
import {
  CRON_JOBS,
  DAEMON_SETS,
  DEPLOYMENTS,
  JOBS,
  type Kind,
  MeshError,
  NAMESPACES,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  SERVICES,
  STATEFUL_SETS,
} from '@tulle/api';

export interface ResourceType {
  kind: Kind;
  /** In lower case and singular, as in `linkerd.io/proxy-deployment` and `dst_deployment`. */
  label: string;
}

export interface Resource extends ResourceType {
  /** All of the type when it is not given. */
  name?: string;
}

const type = (kind: Kind, ...aliases: string[]) => ({ kind, label: kind.kind.toLowerCase(), aliases });

const TYPES = [
  type(DAEMON_SETS, 'ds'),
  type(STATEFUL_SETS, 'sts'),
  type(JOBS),
  type(DEPLOYMENTS, 'deploy'),
  type(REPLICATION_CONTROLLERS, 'rc'),
  type(PODS, 'po'),
  type(SERVICES, 'svc'),
  type(CRON_JOBS, 'cj'),
  type(REPLICA_SETS, 'rs'),
  type(NAMESPACES, 'ns'),
];

/** What `all` stands for. */
export const ALL_TYPES: readonly ResourceType[] = TYPES.filter(({ label }) => label !== 'namespace');

/** Throws when a word names no type, or the words do not come in pairs. */
export function parseResources(words: readonly string[]): Resource[] {
  const [first, second, ...rest] = words;
  if (first === undefined) throw new MeshError('INVALID_ARGUMENT', 'name a resource type, such as deploy');
  if (first === 'all') return [...ALL_TYPES];
  if (!first.includes('/')) {
    if (second === undefined) return [parseType(first)];
    return [second, ...rest].map((name) => ({ ...parseType(first), name }));
  }
  return words.map(parseResource);
}

/** `deploy` or `deploy/web`. */
export function parseResource(word: string): Resource {
  const slash = word.indexOf('/');
  if (slash < 0) return parseType(word);
  const name = word.slice(slash + 1);
  if (!name) throw new MeshError('INVALID_ARGUMENT', `"${word}": no name after the slash`);
  return { ...parseType(word.slice(0, slash)), name };
}

function parseType(word: string): ResourceType {
  const wanted = word.toLowerCase();
  const found = TYPES.find(({ kind, label, aliases }) => [label, kind.plural, ...aliases].includes(wanted));
  if (!found) {
    const known = TYPES.map(({ kind }) => kind.plural).join(', ');
    throw new MeshError('INVALID_ARGUMENT', `"${word}" is no type of resource that has pods: want one of ${known}`);
  }
  return { kind: found.kind, label: found.label };
}
