/**
 * Structure of apps/v1, batch/v1, autoscaling/v1 (Scale), policy/v1 and scheduling.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const workloadsTypes = `
ControllerRevision: data@2:any metadata@1:ObjectMeta revision@3!:int64
DaemonSet: metadata@1:ObjectMeta spec@2:DaemonSetSpec status@3:DaemonSetStatus
DaemonSetCondition: lastTransitionTime@3:time message@5 reason@4 status@2 type@1
DaemonSetSpec: minReadySeconds@4:int64 revisionHistoryLimit@6:int64? selector@1!:LabelSelector?
  template@2!:PodTemplateSpec updateStrategy@3:DaemonSetUpdateStrategy
DaemonSetStatus: collisionCount@9:int? conditions@10:[DaemonSetCondition](type) currentNumberScheduled@1:int
  desiredNumberScheduled@3:int numberAvailable@7:int numberMisscheduled@2:int numberReady@4:int
  numberUnavailable@8:int observedGeneration@5:int64 updatedNumberScheduled@6:int
DaemonSetUpdateStrategy: rollingUpdate@2:RollingUpdateDaemonSet? type@1
Deployment: metadata@1:ObjectMeta spec@2:DeploymentSpec status@3:DeploymentStatus
DeploymentCondition: lastTransitionTime@7:time lastUpdateTime@6:time message@5 reason@4 status@2 type@1
DeploymentSpec: minReadySeconds@5:int64 paused@7:bool progressDeadlineSeconds@9:int64? replicas@1:int?
  revisionHistoryLimit@6:int64? selector@2!:LabelSelector? strategy@4:DeploymentStrategy template@3!:PodTemplateSpec
DeploymentStatus: availableReplicas@4:int collisionCount@8:int? conditions@6:[DeploymentCondition](type)
  observedGeneration@1:int64 readyReplicas@7:int replicas@2:int terminatingReplicas@9:int? unavailableReplicas@5:int
  updatedReplicas@3:int
DeploymentStrategy: rollingUpdate@2:RollingUpdateDeployment? type@1
ReplicaSet: metadata@1:ObjectMeta spec@2:ReplicaSetSpec status@3:ReplicaSetStatus
ReplicaSetCondition: lastTransitionTime@3:time message@5 reason@4 status@2 type@1
ReplicaSetSpec: minReadySeconds@4:int64 replicas@1:int? selector@2!:LabelSelector? template@3:PodTemplateSpec
ReplicaSetStatus: availableReplicas@5:int conditions@6:[ReplicaSetCondition](type) fullyLabeledReplicas@2:int
  observedGeneration@3:int64 readyReplicas@4:int replicas@1:int terminatingReplicas@7:int?
RollingUpdateDaemonSet: maxSurge@2:intstr? maxUnavailable@1:intstr?
RollingUpdateDeployment: maxSurge@2:intstr? maxUnavailable@1:intstr?
RollingUpdateStatefulSetStrategy: maxUnavailable@2:intstr? partition@1:int?
StatefulSet: metadata@1:ObjectMeta spec@2:StatefulSetSpec status@3:StatefulSetStatus
StatefulSetCondition: lastTransitionTime@3:time message@5 reason@4 status@2 type@1
StatefulSetOrdinals: start@1:int
StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted@1 whenScaled@2
StatefulSetSpec: minReadySeconds@9:int64 ordinals@11:StatefulSetOrdinals?
  persistentVolumeClaimRetentionPolicy@10:StatefulSetPersistentVolumeClaimRetentionPolicy? podManagementPolicy@6
  replicas@1:int? revisionHistoryLimit@8:int64? selector@2!:LabelSelector? serviceName@5 template@3!:PodTemplateSpec
  updateStrategy@7:StatefulSetUpdateStrategy volumeClaimTemplates@4:[any]
StatefulSetStatus: availableReplicas@11:int collisionCount@9:int? conditions@10:[StatefulSetCondition](type)
  currentReplicas@4:int currentRevision@6 observedGeneration@1:int64 readyReplicas@3:int replicas@2:int
  updatedReplicas@5:int updateRevision@7
StatefulSetUpdateStrategy: rollingUpdate@2:RollingUpdateStatefulSetStrategy? type@1
CronJob: metadata@1:ObjectMeta spec@2:CronJobSpec status@3:CronJobStatus
CronJobSpec: concurrencyPolicy@3 failedJobsHistoryLimit@7:int? jobTemplate@5!:JobTemplateSpec schedule@1!
  startingDeadlineSeconds@2:int64? successfulJobsHistoryLimit@6:int? suspend@4:bool? timeZone@8:string?
CronJobStatus: active@1:[ObjectReference] lastScheduleTime@4:time lastSuccessfulTime@5:time
Job: metadata@1:ObjectMeta spec@2:JobSpec status@3:JobStatus
JobCondition: lastProbeTime@3:time lastTransitionTime@4:time message@6 reason@5 status@2 type@1
JobSpec: activeDeadlineSeconds@3:int64? backoffLimit@7:int? backoffLimitPerIndex@12:int? completionMode@9:string?
  completions@2:int? managedBy@15:string? manualSelector@5:bool? maxFailedIndexes@13:int? parallelism@1:int?
  podFailurePolicy@11:PodFailurePolicy? podReplacementPolicy@14:string? selector@4:LabelSelector?
  successPolicy@16:SuccessPolicy? suspend@10:bool? template@6!:PodTemplateSpec ttlSecondsAfterFinished@8:int64?
JobStatus: active@4:int completedIndexes@7 completionTime@3:time conditions@1:[JobCondition](type) failed@6:int
  failedIndexes@10:string? ready@9:int? startTime@2:time succeeded@5:int terminating@11:int?
  uncountedTerminatedPods@8:UncountedTerminatedPods?
JobTemplateSpec: metadata@1:ObjectMeta spec@2:JobSpec
PodFailurePolicy: rules@1!:[PodFailurePolicyRule]
PodFailurePolicyOnExitCodesRequirement: containerName@1:string? operator@2! values@3!:[int]
PodFailurePolicyOnPodConditionsPattern: status@2! type@1!
PodFailurePolicyRule: action@1! onExitCodes@2:PodFailurePolicyOnExitCodesRequirement?
  onPodConditions@3:[PodFailurePolicyOnPodConditionsPattern]
SuccessPolicy: rules@1!:[SuccessPolicyRule]
SuccessPolicyRule: succeededCount@2:int? succeededIndexes@1:string?
UncountedTerminatedPods: failed@2:[] succeeded@1:[]
Scale: metadata@1:ObjectMeta spec@2:ScaleSpec status@3:ScaleStatus
ScaleSpec: replicas@1:int
ScaleStatus: replicas@1:int selector@2
Eviction: deleteOptions@2:DeleteOptions? metadata@1:ObjectMeta
PodDisruptionBudget: metadata@1:ObjectMeta spec@2:PodDisruptionBudgetSpec status@3:PodDisruptionBudgetStatus
PodDisruptionBudgetSpec: maxUnavailable@3:intstr? minAvailable@1:intstr? selector@2:LabelSelector?
  unhealthyPodEvictionPolicy@4:string?
PodDisruptionBudgetStatus: conditions@7:[Condition](type) currentHealthy@4:int desiredHealthy@5:int
  disruptedPods@2:{time} disruptionsAllowed@3:int expectedPods@6:int observedGeneration@1:int64
PriorityClass: description@4 globalDefault@3:bool metadata@1:ObjectMeta preemptionPolicy@5:string? value@2!:int64
`;
