/**
 * Reads an object that anybody may have written, field by field. Every problem is kept with the field's path, what was
 * found and what is allowed; a reader goes on after one, so that all of them are told at once.
 */
import type { KubeObject } from './kubernetes.ts';
import { MeshError } from './mesh-error.ts';

/** What is quoted of a value that is wrong. */
const FOUND_CHARACTERS_MAX = 80;
/** Problems that one message lists; the rest is counted. */
const PROBLEMS_MAX = 20;

export class Field {
  /** As written in messages: `spec.client.networks[0].cidr`. */
  readonly path: string;
  readonly value: unknown;
  readonly #problems: string[];

  constructor(path: string, value: unknown, problems: string[]) {
    this.path = path;
    this.value = value;
    this.#problems = problems;
  }

  /** Null counts as not set, as in Kubernetes. */
  get isSet(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** The field of that name, not set where this is no object. */
  get(name: string): Field {
    const isObject = typeof this.value === 'object' && this.value !== null && Object.hasOwn(this.value, name);
    return new Field(
      this.path === '' ? name : `${this.path}.${name}`,
      isObject ? (this.value as Record<string, unknown>)[name] : undefined,
      this.#problems,
    );
  }

  /** Whether the field is there, also as null. */
  has(name: string): boolean {
    return typeof this.value === 'object' && this.value !== null && Object.hasOwn(this.value, name);
  }

  /** The names of an object's fields. */
  keys(): string[] {
    return this.object() ? Object.keys(this.value as object) : [];
  }

  /**
   * Refuses every field of the object but these. Of what grants access none may be passed over: one in a wrong place is a
   * restriction whose author believes it to be in force.
   */
  only(...names: string[]): this {
    const isObject = typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value);
    for (const name of isObject ? Object.keys(this.value as object) : []) {
      if (!names.includes(name)) this.get(name).refuse(`nothing but ${names.join(', ')} here`);
    }
    return this;
  }

  /** The elements of a list; none where it is not set, a problem where it is something else. */
  items(allowed = 'a list'): Field[] {
    if (!this.isSet) return [];
    if (!Array.isArray(this.value)) {
      this.refuse(allowed);
      return [];
    }
    return this.value.map((value, i) => new Field(`${this.path}[${i}]`, value, this.#problems));
  }

  /** Whether it is set to an object; a problem where it is set to something else. */
  object(allowed = 'an object'): boolean {
    if (!this.isSet) return false;
    if (typeof this.value === 'object' && !Array.isArray(this.value)) return true;
    this.refuse(allowed);
    return false;
  }

  /** A text that is not empty; undefined where it is not set, a problem where it is something else. */
  text(allowed = 'a text'): string | undefined {
    if (!this.isSet) return undefined;
    if (typeof this.value === 'string' && this.value !== '') return this.value;
    return this.refuse(allowed);
  }

  /** As `text`, but it must be set; what is returned after a problem is empty. */
  requiredText(allowed = 'a text'): string {
    return this.text(allowed) ?? (this.isSet ? '' : (this.refuse(allowed) ?? ''));
  }

  oneOf<T extends string>(values: readonly T[]): T | undefined {
    if (!this.isSet) return undefined;
    const found = values.find((value) => value === this.value);
    return found ?? this.refuse(`one of ${values.join(', ')}`);
  }

  boolean(): boolean | undefined {
    if (!this.isSet) return undefined;
    return typeof this.value === 'boolean' ? this.value : this.refuse('true or false');
  }

  /** A whole number from `min` to `max`. */
  integer(min: number, max: number, allowed = `${min} to ${max}`): number | undefined {
    if (!this.isSet) return undefined;
    const isIn = Number.isInteger(this.value) && (this.value as number) >= min && (this.value as number) <= max;
    return isIn ? (this.value as number) : this.refuse(allowed);
  }

  /** Keeps a problem of this field and returns undefined. */
  refuse(allowed: string): undefined {
    const quoted = this.value === undefined ? 'nothing' : (JSON.stringify(this.value) ?? String(this.value));
    const found = quoted.length > FOUND_CHARACTERS_MAX ? `${quoted.slice(0, FOUND_CHARACTERS_MAX)}…` : quoted;
    this.#problems.push(`${this.path}: found ${found}, allowed is ${allowed}`);
    return undefined;
  }
}

/** What `read` makes of the object. @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function readObject<T>(object: KubeObject, read: (root: Field) => T): T {
  const problems: string[] = [];
  const value = read(new Field('', object, problems));
  refuseIfAny(problems);
  return value;
}

/** The object's `spec`; what stands beside it, and not in it, is refused. */
export function readSpec(root: Field): Field {
  return root.only('apiVersion', 'kind', 'metadata', 'spec', 'status').get('spec');
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem; nothing where there is none. */
export function refuseIfAny(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const rest = problems.length - PROBLEMS_MAX;
  const told = problems.slice(0, PROBLEMS_MAX).join('; ');
  throw new MeshError('INVALID_ARGUMENT', rest > 0 ? `${told}; and ${rest} more` : told);
}
