/** What admission sees of a write, and the order: built-in mutation, webhooks that mutate, validation, webhooks that validate. */
import type { User } from '../authentication/authenticator.ts';
import type { Resource } from '../resources/resource.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

export interface AdmissionAttributes {
  operation: Operation;
  resource: Resource;
  subresource: string;
  namespace: string | undefined;
  name: string;
  /** The object as it would be; undefined for DELETE. */
  object: Fields | undefined;
  oldObject: StoredObject | undefined;
  options: Fields;
  user: User;
  isDryRun: boolean;
  warnings: string[];
}

/** One step; a mutating step returns the object as it is to go on. Throws what the client is answered with. */
export interface AdmissionStep {
  mutate?: (attributes: AdmissionAttributes) => Promise<Fields | undefined> | Fields | undefined;
  validate?: (attributes: AdmissionAttributes) => Promise<void> | void;
}

export class Admission {
  readonly steps: AdmissionStep[];

  constructor(steps: AdmissionStep[]) {
    this.steps = steps;
  }

  async mutate(attributes: AdmissionAttributes): Promise<Fields> {
    for (const step of this.steps) {
      if (step.mutate !== undefined) attributes.object = await step.mutate(attributes);
    }
    return attributes.object!;
  }

  async validate(attributes: AdmissionAttributes): Promise<void> {
    for (const step of this.steps) await step.validate?.(attributes);
  }
}
