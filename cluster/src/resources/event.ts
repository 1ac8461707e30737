/** Events, stored once and served by two groups under different field names. */
import type { Fields } from '../store/stored-object.ts';
import { age } from './columns.ts';
import { defineResource } from './define.ts';
import type { Column, Resource } from './resource.ts';

const eventFields: Resource['selectableFields'] = {
  'involvedObject.kind': (event) => event.involvedObject?.kind ?? event.regarding?.kind ?? '',
  'involvedObject.namespace': (event) => event.involvedObject?.namespace ?? event.regarding?.namespace ?? '',
  'involvedObject.name': (event) => event.involvedObject?.name ?? event.regarding?.name ?? '',
  'involvedObject.uid': (event) => event.involvedObject?.uid ?? event.regarding?.uid ?? '',
  'involvedObject.apiVersion': (event) => event.involvedObject?.apiVersion ?? event.regarding?.apiVersion ?? '',
  'involvedObject.fieldPath': (event) => event.involvedObject?.fieldPath ?? event.regarding?.fieldPath ?? '',
  'regarding.kind': (event) => event.involvedObject?.kind ?? '',
  'regarding.name': (event) => event.involvedObject?.name ?? '',
  'regarding.namespace': (event) => event.involvedObject?.namespace ?? '',
  'regarding.uid': (event) => event.involvedObject?.uid ?? '',
  reason: (event) => event.reason ?? '',
  reportingComponent: (event) => event.reportingComponent || event.source?.component || '',
  source: (event) => event.source?.component || event.reportingComponent || '',
  type: (event) => event.type ?? '',
};

const eventColumns: Column[] = [
  {
    name: 'Last Seen',
    value: (event, nowMs) =>
      age(event.series?.lastObservedTime ?? event.lastTimestamp ?? event.firstTimestamp ?? event.eventTime, nowMs),
  },
  { name: 'Type', value: (event) => event.type ?? '' },
  { name: 'Reason', value: (event) => event.reason ?? '' },
  {
    name: 'Object',
    value: (event) => `${(event.involvedObject?.kind ?? '').toLowerCase()}/${event.involvedObject?.name ?? ''}`,
  },
  { name: 'Subobject', priority: 1, value: (event) => event.involvedObject?.fieldPath ?? '' },
  {
    name: 'Source',
    priority: 1,
    value: (event) =>
      [event.source?.component ?? event.reportingComponent, event.source?.host].filter(Boolean).join(', '),
  },
  { name: 'Message', value: (event) => (event.message ?? '').trim() },
  { name: 'First Seen', priority: 1, value: (event, nowMs) => age(event.firstTimestamp ?? event.eventTime, nowMs) },
  { name: 'Count', priority: 1, type: 'integer', value: (event) => event.series?.count ?? event.count ?? 1 },
  { name: 'Name', priority: 1, value: (event) => event.metadata.name },
];

export const events: Resource = defineResource({
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  namespaced: true,
  shortNames: ['ev'],
  hasGeneration: false,
  selectableFields: eventFields,
  columns: eventColumns,
});

/** events.k8s.io/v1 shows the same events under other field names. */
export const eventsV1: Resource = defineResource({
  group: 'events.k8s.io',
  version: 'v1',
  kind: 'Event',
  type: 'EventsEvent',
  plural: 'events',
  storage: 'events',
  namespaced: true,
  shortNames: ['ev'],
  hasGeneration: false,
  selectableFields: eventFields,
  columns: eventColumns,
  toStored: ({
    regarding,
    note,
    reportingController,
    deprecatedSource,
    deprecatedCount,
    deprecatedFirstTimestamp,
    deprecatedLastTimestamp,
    ...rest
  }) =>
    defined({
      ...rest,
      apiVersion: 'v1',
      involvedObject: regarding,
      message: note,
      reportingComponent: reportingController,
      source: deprecatedSource,
      count: deprecatedCount,
      firstTimestamp: deprecatedFirstTimestamp,
      lastTimestamp: deprecatedLastTimestamp,
    }),
  fromStored: ({
    involvedObject,
    message,
    reportingComponent,
    source,
    count,
    firstTimestamp,
    lastTimestamp,
    ...rest
  }) =>
    defined({
      ...rest,
      apiVersion: 'events.k8s.io/v1',
      regarding: involvedObject,
      note: message,
      reportingController: reportingComponent,
      deprecatedSource: source,
      deprecatedCount: count,
      deprecatedFirstTimestamp: firstTimestamp,
      deprecatedLastTimestamp: lastTimestamp,
    }),
});

function defined(object: Fields): Fields {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
