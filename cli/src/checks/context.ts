/** What checks look at. Every question is asked of the cluster once, until `forget`. */
import {
  CONFIG_MAPS,
  type ConfigMap,
  type Kind,
  type KubeObject,
  MeshError,
  PODS,
  type Pod,
  SERVICES,
  type Service,
} from '@tulle/api';
import type { Client } from '@tulle/client';
import { type Values, VERSION } from '@tulle/control-plane/injector/values.ts';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';

export interface CheckSettings {
  /** Namespace of the control plane. */
  controlPlaneNamespace: string;
  /** Only the data plane of this namespace. */
  dataPlaneNamespace?: string;
  expectedVersion?: string;
  cliVersion?: string;
}

export class CheckContext {
  readonly settings: CheckSettings;
  readonly #connect: () => Promise<Client>;
  #client: Promise<Client> | undefined;
  readonly #answers = new Map<string, Promise<unknown>>();

  constructor(settings: CheckSettings, connect: () => Promise<Client>) {
    this.settings = settings;
    this.#connect = connect;
  }

  nowMs(): number {
    return Date.now();
  }

  get cliVersion(): string {
    return this.settings.cliVersion ?? VERSION;
  }

  client(): Promise<Client> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  /** Asks again what is asked from here on. */
  forget(): void {
    this.#answers.clear();
  }

  async close(): Promise<void> {
    if (this.#client) (await this.#client.catch(() => undefined))?.close();
  }

  get<T extends KubeObject>(kind: Kind, name: string, namespace?: string): Promise<T> {
    return this.#once(`${kind.plural}/${namespace ?? ''}/${name}`, async () =>
      (await this.client()).get<T>(kind, name, namespace),
    );
  }

  list<T extends KubeObject>(kind: Kind, options: { namespace?: string; labelSelector?: string } = {}): Promise<T[]> {
    return this.#once(`${kind.plural}?${JSON.stringify(options)}`, async () => {
      return (await (await this.client()).list<T>(kind, options)).items;
    });
  }

  /** The body of a GET on a path of the API server. */
  json<T>(path: string): Promise<T> {
    return this.#once(path, async () => (await (await this.client()).request('GET', path)).json<T>());
  }

  values(): Promise<Values> {
    return this.#once('values', async () => {
      const config = await this.get<ConfigMap>(CONFIG_MAPS, 'linkerd-config', this.settings.controlPlaneNamespace);
      return parseValues(config.data?.values ?? '');
    });
  }

  controlPlanePods(): Promise<Pod[]> {
    return this.list<Pod>(PODS, {
      namespace: this.settings.controlPlaneNamespace,
      labelSelector: 'linkerd.io/control-plane-component',
    });
  }

  /** Meshed pods that are not the control plane's. */
  async dataPlanePods(): Promise<Pod[]> {
    const { controlPlaneNamespace, dataPlaneNamespace } = this.settings;
    const pods = await this.list<Pod>(PODS, {
      labelSelector: `linkerd.io/control-plane-ns=${controlPlaneNamespace}`,
      ...(dataPlaneNamespace ? { namespace: dataPlaneNamespace } : {}),
    });
    return pods.filter(({ metadata }) => !metadata.labels?.['linkerd.io/control-plane-component']);
  }

  services(): Promise<Service[]> {
    const { dataPlaneNamespace } = this.settings;
    return this.list<Service>(SERVICES, dataPlaneNamespace ? { namespace: dataPlaneNamespace } : {});
  }

  #once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    let answer = this.#answers.get(key) as Promise<T> | undefined;
    if (!answer) {
      answer = ask();
      this.#answers.set(key, answer);
    }
    return answer;
  }
}

/** Throws one error that lists what was found, indented below `problem`; nothing when nothing was. */
export function failIfAny(found: readonly string[], problem: string): void {
  if (found.length)
    throw new MeshError('FAILED_PRECONDITION', `${problem}\n${found.map((line) => `* ${line}`).join('\n')}`);
}

export function fail(problem: string): never {
  throw new MeshError('FAILED_PRECONDITION', problem);
}
