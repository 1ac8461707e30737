/** What routes of all kinds share: their parents, host names, backends, and how their rules are read. */
import { Field, refuseIfAny } from '../field.ts';
import type { Kind } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { GATEWAY_GROUP, POLICY_GROUP } from '../policy/target-ref.ts';

/** Something that a route names; the core group is empty. */
export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port?: number;
  /** Where it stands in the route: `spec.parentRefs[0]`. */
  readonly field: string;
}

export interface ParentRef extends TargetRef {
  readonly sectionName?: string;
}

export interface BackendRef extends TargetRef {
  readonly weight: number;
  /** Why its share of requests has to fail: it could not be read. */
  readonly invalid?: string;
}

export interface Rule {
  readonly name?: string;
  /** Where it stands in the route: `spec.rules[0]`. */
  readonly field: string;
  /** Why every request that it takes has to fail: a part of it could not be read, and is not in it. */
  readonly invalid?: string;
}

export interface Route {
  readonly ref: ObjectRef;
  readonly parents: readonly ParentRef[];
  /** In lower case, `*.` before those that stand for all names below; none: every host. */
  readonly hostnames: readonly string[];
}

/** What could be read of an object, and what could not. */
export interface Read<T> {
  readonly route: T;
  readonly problems: readonly string[];
}

const PORT_MAX = 65535;
const WEIGHT_MAX = 1_000_000;
/** The schemas' limits; objects beyond them come only from clusters with other schemas. */
const PARENTS_MAX = 32;
const HOSTNAMES_MAX = 16;
export const RULES_MAX = 16;
const BACKENDS_MAX = 16;
const DNS_BYTES_MAX = 253;

const HOSTNAME = /^(?:\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;
const RULE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export function isService({ group, kind }: { group: string; kind: string }): boolean {
  return group === '' && kind === 'Service';
}

export function isEgressNetwork({ group, kind }: { group: string; kind: string }): boolean {
  return group === POLICY_GROUP && kind === 'EgressNetwork';
}

export function isServer({ group, kind }: { group: string; kind: string }): boolean {
  return group === POLICY_GROUP && kind === 'Server';
}

/** Parents whose clients' proxies carry the route out. */
export function hasOutboundParent({ parents }: Pick<Route, 'parents'>): boolean {
  return parents.some((parent) => isService(parent) || isEgressNetwork(parent));
}

/** What routes of all kinds begin with, and where the rest is to be read from. */
export interface RouteHead {
  readonly route: Route;
  /** The route is for no host at all: it was given names, and none can be read. */
  readonly isNothing: boolean;
  readonly spec: Field;
  /** Takes what is wrong with the rest. */
  readonly problems: string[];
}

/** `hasHostnames`: TCPRoutes have none. */
export function readRouteHead(object: KubeObject, kind: Kind, hasHostnames = true): RouteHead {
  const problems: string[] = [];
  const ref = objectRef(object, kind);
  const spec = new Field('spec', object.spec, problems);
  if (!spec.object() && !spec.isSet) spec.refuse('an object');
  const parents = readParents(spec, ref, problems);
  const { hostnames, isNothing } = hasHostnames ? readHostnames(spec) : { hostnames: [], isNothing: false };
  return { route: { ref, parents, hostnames }, isNothing, spec, problems };
}

/**
 * A parent of which a part cannot be read is left out: a route for one port must not become one for all. Servers keep
 * theirs, since what they let in is less with a route than without.
 */
function readParents(spec: Field, ref: ObjectRef, problems: string[]): ParentRef[] {
  const list = spec.get('parentRefs');
  const items = list.items('a list of parents');
  if (items.length > PARENTS_MAX) list.refuse(`at most ${PARENTS_MAX} parents`);
  return items.flatMap(({ path, value }) => {
    const own: string[] = [];
    const item = new Field(path, value, own);
    const target = readTarget(item, ref, { group: ref.group, kind: 'Gateway' });
    const sectionName = target && item.get('sectionName').text('the name of a section');
    if (target && isEgressNetwork(target) && !item.get('port').isSet) {
      item.get('port').refuse(`1 to ${PORT_MAX}: a parent of kind EgressNetwork needs one`);
    }
    problems.push(...own);
    return target && (own.length === 0 || isServer(target)) ? [{ ...target, sectionName }] : [];
  });
}

/** Undefined where it names nothing. */
export function readTarget(
  field: Field,
  owner: ObjectRef,
  defaults: { group: string; kind: string },
): TargetRef | undefined {
  if (!field.object('a reference to an object')) {
    if (!field.isSet) field.refuse('a reference to an object');
    return undefined;
  }
  const name = field.get('name').requiredText('the name of an object');
  if (name === '') return undefined;
  const given = field.get('group').value;
  // The core group is written as nothing at all or as its nickname.
  const group = given === '' || given === 'core' ? '' : (field.get('group').text('an API group') ?? defaults.group);
  const kind = field.get('kind').text('a kind') ?? defaults.kind;
  return {
    group,
    kind: group === '' && kind.toLowerCase() === 'service' ? 'Service' : kind,
    namespace: field.get('namespace').text('the name of a namespace') ?? owner.namespace,
    name,
    port: field.get('port').integer(1, PORT_MAX),
    field: field.path,
  };
}

/** With what each kind of route adds to a backend. A backend that cannot be read stays, so that its share fails. */
export function readBackends<T extends object>(
  rule: Field,
  owner: ObjectRef,
  problems: string[],
  readMore: (item: Field) => T,
): (BackendRef & T)[] {
  const list = rule.get('backendRefs');
  const items = list.items('a list of backends');
  if (items.length > BACKENDS_MAX) list.refuse(`at most ${BACKENDS_MAX} backends`);
  return items.map((item) => {
    const own: string[] = [];
    const scoped = new Field(item.path, item.value, own);
    const target = readTarget(scoped, owner, { group: '', kind: 'Service' });
    const weight = scoped.get('weight').integer(0, WEIGHT_MAX) ?? 1;
    const more = readMore(scoped);
    let invalid = own.length > 0 ? own.join('; ') : undefined;
    if (target && !invalid && isService(target) && target.port === undefined) {
      invalid = `missing port for backend Service ${target.name}`;
      if (owner.group === GATEWAY_GROUP)
        scoped.get('port').refuse(`1 to ${PORT_MAX}: a backend of kind Service needs one`);
    }
    problems.push(...own);
    const unknown = { group: '', kind: '', namespace: owner.namespace, name: '', field: item.path };
    return { ...(target ?? unknown), weight, ...more, ...(invalid === undefined ? {} : { invalid }) };
  });
}

/**
 * Those that can be read. Where names were given and none can be read, `isNothing`: the route is for no host at all,
 * which must not become every host.
 */
function readHostnames(spec: Field): { hostnames: string[]; isNothing: boolean } {
  const list = spec.get('hostnames');
  const items = list.items('a list of host names');
  if (items.length > HOSTNAMES_MAX) list.refuse(`at most ${HOSTNAMES_MAX} host names`);
  const hostnames = items.flatMap((item) => readHostname(item, true) ?? []);
  return {
    hostnames,
    isNothing: hostnames.length === 0 && list.isSet && (items.length > 0 || !Array.isArray(list.value)),
  };
}

export function readHostname(field: Field, isWildcardAllowed: boolean): string | undefined {
  const allowed = isWildcardAllowed ? 'a DNS name, or *. and one, and no address' : 'a DNS name, and no address';
  const name = field.text(allowed)?.toLowerCase();
  if (name === undefined) return field.isSet ? undefined : field.refuse(allowed);
  const isName = name.length <= DNS_BYTES_MAX && HOSTNAME.test(name) && !IPV4.test(name);
  return isName && (isWildcardAllowed || !name.startsWith('*')) ? name : field.refuse(allowed);
}

export interface RulePlace {
  readonly index: number;
  /** Takes problems of backends, which make their shares fail and not the rule. */
  readonly ofBackends: string[];
  /** Takes what makes the rule fail and is no problem of the object. */
  readonly admitted: string[];
}

/**
 * Reads each rule by itself: what is wrong with one does not touch the others. `hasDefault`: a route without the field has
 * one that takes everything; an empty list is none in any case, and takes nothing.
 */
export function readRules<T extends object>(
  spec: Field,
  problems: string[],
  hasDefault: boolean,
  read: (rule: Field, place: RulePlace) => T,
): (Rule & T)[] {
  const list = spec.get('rules');
  const given = list.items('a list of rules');
  const items = !list.isSet && hasDefault ? [new Field(`${list.path}[0]`, {}, problems)] : given;
  if (items.length > RULES_MAX) list.refuse(`at most ${RULES_MAX} rules`);
  const names = new Set<string>();
  return items.map((item, index) => {
    const own: string[] = [];
    const place: RulePlace = { index, ofBackends: [], admitted: [] };
    const rule = new Field(item.path, item.value, own);
    if (!rule.object() && !rule.isSet) rule.refuse('a rule');
    const more = read(rule, place);
    const reasons = [...own, ...place.admitted];
    const invalid = reasons.length > 0 ? reasons.join('; ') : undefined;
    // A rule's name only labels it: a bad one leaves the rule as it is.
    const name = readRuleName(rule.get('name'), names);
    problems.push(...own, ...place.ofBackends);
    return { name, field: item.path, ...more, ...(invalid === undefined ? {} : { invalid }) };
  });
}

function readRuleName(field: Field, taken: Set<string>): string | undefined {
  const allowed = 'a DNS name that no other rule of the route has';
  const name = field.text(allowed);
  if (name === undefined) return undefined;
  if (name.length > DNS_BYTES_MAX || !RULE_NAME.test(name) || taken.has(name)) return field.refuse(allowed);
  taken.add(name);
  return name;
}

/** TLS and TCP routes have nothing by which a second rule could be told from the first: where there is one, both fail. */
export function readSingleRule<T extends object>(
  spec: Field,
  problems: string[],
  read: (rule: Field, place: RulePlace) => T,
): (Rule & T)[] {
  const list = spec.get('rules');
  const { value } = list;
  const isSingle = Array.isArray(value) && value.length === 1;
  if (!isSingle) list.refuse('exactly one rule');
  const invalid = isSingle ? undefined : problems.at(-1);
  const [rule] = readRules(spec, problems, false, read);
  return rule ? [{ ...rule, ...(invalid === undefined ? {} : { invalid }) }] : [];
}

/** The object's route when nothing is wrong with it. @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function valid<T>({ route, problems }: Read<T>): T {
  refuseIfAny(problems);
  return route;
}
