/** Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions. */
import { isDeepStrictEqual } from 'node:util';
import { invalidValue } from '../apiserver/status.ts';
import type { Fields } from '../store/stored-object.ts';
import { ageColumn, count, labelsText, nameColumn, selectorColumn, templateColumns } from './columns.ts';
import { defineResource } from './define.ts';
import { applyTemplateDefaults } from './pod-defaults.ts';
import type { Resource } from './resource.ts';
import { oneOf } from './validate-pod-spec.ts';
import { countOrPercent, immutableSelector, isZero, specOf, validateWorkload } from './workload-rules.ts';

const apps = { group: 'apps', version: 'v1', namespaced: true, categories: ['all'] } as const;

const scale = {
  specReplicas: ['spec', 'replicas'],
  statusReplicas: ['status', 'replicas'],
  selector: ['spec', 'selector'],
};

const templateOf = (object: Fields) => object.spec?.template;

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
