/** Jobs and CronJobs. */
import { isDeepStrictEqual } from 'node:util';
import { type FieldError, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { age, ageColumn, count, nameColumn, selectorColumn, shortDuration, templateColumns } from './columns.ts';
import { defineResource } from './define.ts';
import { applyTemplateDefaults } from './pod-defaults.ts';
import type { Resource } from './resource.ts';
import { oneOf } from './validate-pod-spec.ts';
import { specOf, validateTemplate } from './workload-rules.ts';

const batch = { group: 'batch', version: 'v1', namespaced: true, categories: ['all'] } as const;

const templateOf = (object: Fields) => object.spec?.template;

export const jobs: Resource = defineResource({
  ...batch,
  kind: 'Job',
  plural: 'jobs',
  selectableFields: { 'status.successful': (object) => String(object.status?.succeeded ?? 0) },
  applyDefaults: (object) => applyJobSpecDefaults(specOf(object)),
  prepareCreate: (object) => {
    object.status = {};
    const { spec, metadata } = object;
    if (spec.manualSelector === true) return;
    spec.selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': metadata.uid } };
    spec.template = { ...spec.template, metadata: { ...spec.template?.metadata } };
    spec.template.metadata.labels = {
      ...spec.template.metadata.labels,
      'batch.kubernetes.io/controller-uid': metadata.uid,
      'batch.kubernetes.io/job-name': metadata.name ?? '',
      'controller-uid': metadata.uid,
      'job-name': metadata.name ?? '',
    };
  },
  validate: (object) => {
    const errors = validateJobSpec(object.spec, 'spec');
    errors.push(...validateTemplate(object.spec.template, 'spec.template', ['OnFailure', 'Never']));
    return errors;
  },
  validateUpdate: (object, old) => {
    const errors: FieldError[] = [];
    for (const field of ['selector', 'template', 'completionMode', 'completions']) {
      if (field === 'completions' && old.spec.completionMode === 'Indexed') continue;
      if (field === 'template' && old.spec.suspend === true) continue;
      if (!isDeepStrictEqual(object.spec[field], old.spec[field])) {
        errors.push(invalidValue(`spec.${field}`, object.spec[field], 'field is immutable'));
      }
    }
    return errors;
  },
  columns: [
    nameColumn,
    { name: 'Status', value: jobState },
    {
      name: 'Completions',
      value: ({ spec, status }) =>
        spec?.completions !== undefined
          ? `${status?.succeeded ?? 0}/${spec.completions}`
          : `${status?.succeeded ?? 0}/1 of ${spec?.parallelism ?? 1}`,
    },
    {
      name: 'Duration',
      value: ({ status }, nowMs) => {
        if (status?.startTime === undefined) return '';
        return shortDuration(
          (status.completionTime === undefined ? nowMs : Date.parse(status.completionTime)) -
            Date.parse(status.startTime),
        );
      },
    },
    ageColumn,
    ...templateColumns(templateOf),
    selectorColumn,
  ],
});

export const cronJobs: Resource = defineResource({
  ...batch,
  kind: 'CronJob',
  plural: 'cronjobs',
  shortNames: ['cj'],
  applyDefaults: (object) => {
    const spec = specOf(object);
    spec.concurrencyPolicy ??= 'Allow';
    spec.suspend ??= false;
    spec.successfulJobsHistoryLimit ??= 3;
    spec.failedJobsHistoryLimit ??= 1;
    if (spec.jobTemplate?.spec?.template !== undefined) applyTemplateDefaults(spec.jobTemplate.spec.template);
  },
  prepareCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const errors = validateTemplate(object.spec.jobTemplate?.spec?.template, 'spec.jobTemplate.spec.template', [
      'OnFailure',
      'Never',
    ]);
    oneOf(errors, 'spec.concurrencyPolicy', object.spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']);
    return errors;
  },
  columns: [
    nameColumn,
    { name: 'Schedule', value: ({ spec }) => spec?.schedule ?? '' },
    { name: 'Timezone', value: ({ spec }) => spec?.timeZone ?? '<none>' },
    { name: 'Suspend', value: ({ spec }) => (spec?.suspend ? 'True' : 'False') },
    count('Active', ({ status }) => status?.active?.length),
    {
      name: 'Last Schedule',
      value: ({ status }, nowMs) =>
        status?.lastScheduleTime === undefined ? '<none>' : age(status.lastScheduleTime, nowMs),
    },
    ageColumn,
    ...templateColumns((object) => object.spec?.jobTemplate?.spec?.template),
  ],
});

function applyJobSpecDefaults(spec: Fields): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= 6;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed';
  applyTemplateDefaults(spec.template);
}

function validateJobSpec(spec: Fields, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of [
    'parallelism',
    'completions',
    'backoffLimit',
    'activeDeadlineSeconds',
    'ttlSecondsAfterFinished',
  ]) {
    if (spec[field] < 0)
      errors.push(invalidValue(`${path}.${field}`, spec[field], 'must be greater than or equal to 0'));
  }
  oneOf(errors, `${path}.completionMode`, spec.completionMode, ['Indexed', 'NonIndexed']);
  if (spec.completionMode === 'Indexed' && spec.completions === undefined)
    errors.push(required(`${path}.completions`, 'when completion mode is Indexed'));
  return errors;
}

function jobState({ metadata, spec, status }: StoredObject): string {
  const has = (type: string) => status?.conditions?.some((c: Fields) => c.type === type && c.status === 'True');
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (has('Suspended') || spec?.suspend) return 'Suspended';
  if (has('FailureTarget')) return 'FailureTarget';
  if (has('SuccessCriteriaMet')) return 'SuccessCriteriaMet';
  return 'Running';
}
