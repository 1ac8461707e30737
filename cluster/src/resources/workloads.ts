/** Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions, Jobs and CronJobs. */
import { isDeepStrictEqual } from 'node:util';
import { labelSelectorPredicate, labelSelectorText } from '../apiserver/selector.ts';
import { type FieldError, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { age, ageColumn, joined, labelsText, nameColumn, shortDuration, templateColumns } from './columns.ts';
import { defineResource } from './define.ts';
import { applyTemplateDefaults } from './pod-defaults.ts';
import type { Column, Resource } from './resource.ts';
import { validateLabels } from './validate-metadata.ts';
import { oneOf, validatePodSpec } from './validate-pod-spec.ts';

const apps = { group: 'apps', version: 'v1', namespaced: true, categories: ['all'] } as const;
const batch = { group: 'batch', version: 'v1', namespaced: true, categories: ['all'] } as const;

const scale = {
  specReplicas: ['spec', 'replicas'],
  statusReplicas: ['status', 'replicas'],
  selector: ['spec', 'selector'],
};

const templateOf = (object: Fields) => object.spec?.template;
const selectorColumn: Column = {
  name: 'Selector',
  priority: 1,
  value: (object) => joined([labelSelectorText(object.spec?.selector)].filter((s) => s !== '')),
};
const count = (name: string, read: (object: Fields) => number | undefined): Column => ({
  name,
  type: 'integer',
  value: (object) => read(object) ?? 0,
});

export const deployments: Resource = defineResource({
  ...apps,
  kind: 'Deployment',
  plural: 'deployments',
  shortNames: ['deploy'],
  scale,
  applyDefaults: (object) => {
    const spec = specOf(object);
    spec.replicas ??= 1;
    spec.strategy ??= {};
    spec.strategy.type ??= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
    }
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    applyTemplateDefaults(spec.template);
  },
  prepareCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const errors = validateWorkload(object, ['Always']);
    const { strategy, progressDeadlineSeconds, minReadySeconds } = object.spec;
    oneOf(errors, 'spec.strategy.type', strategy.type, ['Recreate', 'RollingUpdate']);
    if (strategy.type === 'Recreate' && strategy.rollingUpdate !== undefined) {
      errors.push({
        reason: 'FieldValueForbidden',
        message: "Forbidden: may not be specified when strategy `type` is 'Recreate'",
        field: 'spec.strategy.rollingUpdate',
      });
    }
    const { maxSurge, maxUnavailable } = strategy.rollingUpdate ?? {};
    for (const [field, value] of Object.entries({ maxSurge, maxUnavailable }))
      countOrPercent(errors, `spec.strategy.rollingUpdate.${field}`, value);
    if (isZero(maxSurge) && isZero(maxUnavailable)) {
      errors.push(
        invalidValue('spec.strategy.rollingUpdate.maxUnavailable', maxUnavailable, 'may not be 0 when `maxSurge` is 0'),
      );
    }
    if (progressDeadlineSeconds <= (minReadySeconds ?? 0)) {
      errors.push(
        invalidValue('spec.progressDeadlineSeconds', progressDeadlineSeconds, 'must be greater than minReadySeconds'),
      );
    }
    return errors;
  },
  validateUpdate: immutableSelector,
  columns: [
    nameColumn,
    { name: 'Ready', value: ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}` },
    count('Up-to-date', ({ status }) => status?.updatedReplicas),
    count('Available', ({ status }) => status?.availableReplicas),
    ageColumn,
    ...templateColumns(templateOf),
    selectorColumn,
  ],
});

export const replicaSets: Resource = defineResource({
  ...apps,
  kind: 'ReplicaSet',
  plural: 'replicasets',
  shortNames: ['rs'],
  scale,
  selectableFields: { 'status.replicas': (object) => String(object.status?.replicas ?? 0) },
  applyDefaults: (object) => {
    const spec = specOf(object);
    spec.replicas ??= 1;
    applyTemplateDefaults(spec.template);
  },
  prepareCreate: (object) => {
    object.status = { replicas: 0 };
  },
  validate: (object) => validateWorkload(object, ['Always']),
  validateUpdate: immutableSelector,
  columns: [
    nameColumn,
    count('Desired', ({ spec }) => spec?.replicas),
    count('Current', ({ status }) => status?.replicas),
    count('Ready', ({ status }) => status?.readyReplicas),
    ageColumn,
    ...templateColumns(templateOf),
    selectorColumn,
  ],
});

export const statefulSets: Resource = defineResource({
  ...apps,
  kind: 'StatefulSet',
  plural: 'statefulsets',
  shortNames: ['sts'],
  scale,
  applyDefaults: (object) => {
    const spec = specOf(object);
    spec.replicas ??= 1;
    spec.podManagementPolicy ??= 'OrderedReady';
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.partition ??= 0;
    }
    spec.persistentVolumeClaimRetentionPolicy ??= { whenDeleted: 'Retain', whenScaled: 'Retain' };
    spec.revisionHistoryLimit ??= 10;
    applyTemplateDefaults(spec.template);
  },
  prepareCreate: (object) => {
    object.status = { replicas: 0, availableReplicas: 0 };
  },
  validate: (object) => {
    const errors = validateWorkload(object, ['Always']);
    oneOf(errors, 'spec.podManagementPolicy', object.spec.podManagementPolicy, ['OrderedReady', 'Parallel']);
    oneOf(errors, 'spec.updateStrategy.type', object.spec.updateStrategy?.type, ['OnDelete', 'RollingUpdate']);
    if ((object.spec.volumeClaimTemplates ?? []).length > 0) {
      errors.push({
        reason: 'FieldValueForbidden',
        message: 'Forbidden: this cluster has no persistent volumes',
        field: 'spec.volumeClaimTemplates',
      });
    }
    return errors;
  },
  validateUpdate: (object, old) => {
    const keep = ({
      replicas,
      ordinals,
      template,
      updateStrategy,
      revisionHistoryLimit,
      persistentVolumeClaimRetentionPolicy,
      minReadySeconds,
      ...rest
    }: Fields) => rest;
    if (isDeepStrictEqual(keep(object.spec), keep(old.spec))) return [];
    return [
      {
        reason: 'FieldValueForbidden',
        message:
          "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        field: 'spec',
      },
    ];
  },
  columns: [
    nameColumn,
    { name: 'Ready', value: ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}` },
    ageColumn,
    ...templateColumns(templateOf),
  ],
});

export const daemonSets: Resource = defineResource({
  ...apps,
  kind: 'DaemonSet',
  plural: 'daemonsets',
  shortNames: ['ds'],
  applyDefaults: (object) => {
    const spec = specOf(object);
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
      spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
    }
    spec.revisionHistoryLimit ??= 10;
    applyTemplateDefaults(spec.template);
  },
  prepareCreate: (object) => {
    object.status = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
  },
  validate: (object) => {
    const errors = validateWorkload(object, ['Always']);
    oneOf(errors, 'spec.updateStrategy.type', object.spec.updateStrategy?.type, ['OnDelete', 'RollingUpdate']);
    return errors;
  },
  validateUpdate: immutableSelector,
  columns: [
    nameColumn,
    count('Desired', ({ status }) => status?.desiredNumberScheduled),
    count('Current', ({ status }) => status?.currentNumberScheduled),
    count('Ready', ({ status }) => status?.numberReady),
    count('Up-to-date', ({ status }) => status?.updatedNumberScheduled),
    count('Available', ({ status }) => status?.numberAvailable),
    { name: 'Node Selector', value: (object) => labelsText(object.spec?.template?.spec?.nodeSelector) },
    ageColumn,
    ...templateColumns(templateOf),
    selectorColumn,
  ],
});

export const controllerRevisions: Resource = defineResource({
  ...apps,
  categories: [],
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
  columns: [
    nameColumn,
    {
      name: 'Controller',
      value: ({ metadata }) => {
        const owner = metadata.ownerReferences?.find((o) => o.controller === true);
        if (owner === undefined) return '<none>';
        const group = owner.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : '';
        return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
      },
    },
    { name: 'Revision', value: (object) => object.revision ?? 0 },
    ageColumn,
  ],
});

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
      'batch.kubernetes.io/job-name': metadata.name,
      'controller-uid': metadata.uid,
      'job-name': metadata.name,
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

function specOf(object: Fields): Fields {
  object.spec ??= {};
  return object.spec;
}

function validateWorkload(object: Fields, restartPolicies: readonly string[]): FieldError[] {
  const { spec } = object;
  const errors: FieldError[] = [];
  if (spec.replicas < 0)
    errors.push(invalidValue('spec.replicas', spec.replicas, 'must be greater than or equal to 0'));
  if (spec.minReadySeconds < 0)
    errors.push(invalidValue('spec.minReadySeconds', spec.minReadySeconds, 'must be greater than or equal to 0'));
  const { selector, template } = spec;
  if (selector !== undefined) {
    errors.push(...validateLabels(selector.matchLabels, 'spec.selector.matchLabels'));
    const isEmpty =
      Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0;
    if (isEmpty) errors.push(invalidValue('spec.selector', {}, 'empty selector is invalid for deployment'));
    else if (template !== undefined && !labelSelectorPredicate(selector)(template.metadata?.labels)) {
      errors.push(
        invalidValue(
          'spec.template.metadata.labels',
          template.metadata?.labels ?? null,
          '`selector` does not match template `labels`',
        ),
      );
    }
  }
  errors.push(...validateTemplate(template, 'spec.template', restartPolicies));
  return errors;
}

function validateTemplate(
  template: Fields | undefined,
  path: string,
  restartPolicies: readonly string[],
): FieldError[] {
  if (template === undefined) return [];
  const errors = validateLabels(template.metadata?.labels, `${path}.labels`);
  const spec = template.spec ?? {};
  errors.push(...validatePodSpec(spec, `${path}.spec`));
  if (['Always', 'OnFailure', 'Never'].includes(spec.restartPolicy))
    oneOf(errors, `${path}.spec.restartPolicy`, spec.restartPolicy, restartPolicies);
  return errors;
}

function immutableSelector(object: Fields, old: StoredObject): FieldError[] {
  if (isDeepStrictEqual(object.spec.selector, old.spec.selector)) return [];
  return [invalidValue('spec.selector', object.spec.selector, 'field is immutable')];
}

function countOrPercent(errors: FieldError[], field: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value === 'number') {
    if (value < 0) errors.push(invalidValue(field, value, 'must be greater than or equal to 0'));
  } else if (!/^[0-9]+%$/.test(String(value))) {
    errors.push(
      invalidValue(
        field,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    );
  }
}

const isZero = (value: unknown) => value === 0 || value === '0%';
