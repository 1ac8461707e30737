/** EndpointSlices by the Service that they belong to. Pure index. */

import type { EndpointSlice } from '@tulle/api';

const SERVICE_LABEL = 'kubernetes.io/service-name';

export class EndpointSliceIndex {
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();

  /** Applies a change and returns the key of the Service that it concerns. */
  apply(type: 'added' | 'modified' | 'deleted', slice: EndpointSlice): string {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.[SERVICE_LABEL] ?? ''}`;
    const own = this.#slices.get(key) ?? new Map<string, EndpointSlice>();
    if (type === 'deleted') own.delete(slice.metadata.name);
    else own.set(slice.metadata.name, slice);
    if (own.size > 0) this.#slices.set(key, own);
    else this.#slices.delete(key);
    return key;
  }

  of(serviceKey: string): EndpointSlice[] {
    return [...(this.#slices.get(serviceKey)?.values() ?? [])];
  }
}
