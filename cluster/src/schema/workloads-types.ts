/**
 * Structure of apps/v1, batch/v1, autoscaling/v1 (Scale), policy/v1 and scheduling.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const workloadsTypes = `
ControllerRevision: data:any metadata:ObjectMeta revision!:int64
DaemonSet: metadata:ObjectMeta spec:DaemonSetSpec status:DaemonSetStatus
DaemonSetCondition: lastTransitionTime:time message reason status type
DaemonSetSpec: minReadySeconds:int64 revisionHistoryLimit:int64 selector!:LabelSelector template!:PodTemplateSpec
  updateStrategy:DaemonSetUpdateStrategy
DaemonSetStatus: collisionCount:int conditions:[DaemonSetCondition](type) currentNumberScheduled:int
  desiredNumberScheduled:int numberAvailable:int numberMisscheduled:int numberReady:int numberUnavailable:int
  observedGeneration:int64 updatedNumberScheduled:int
DaemonSetUpdateStrategy: rollingUpdate:RollingUpdateDaemonSet type
Deployment: metadata:ObjectMeta spec:DeploymentSpec status:DeploymentStatus
DeploymentCondition: lastTransitionTime:time lastUpdateTime:time message reason status type
DeploymentSpec: minReadySeconds:int64 paused:bool progressDeadlineSeconds:int64 replicas:int
  revisionHistoryLimit:int64 selector!:LabelSelector strategy:DeploymentStrategy template!:PodTemplateSpec
DeploymentStatus: availableReplicas:int collisionCount:int conditions:[DeploymentCondition](type)
  observedGeneration:int64 readyReplicas:int replicas:int terminatingReplicas:int unavailableReplicas:int
  updatedReplicas:int
DeploymentStrategy: rollingUpdate:RollingUpdateDeployment type
ReplicaSet: metadata:ObjectMeta spec:ReplicaSetSpec status:ReplicaSetStatus
ReplicaSetCondition: lastTransitionTime:time message reason status type
ReplicaSetSpec: minReadySeconds:int64 replicas:int selector!:LabelSelector template:PodTemplateSpec
ReplicaSetStatus: availableReplicas:int conditions:[ReplicaSetCondition](type) fullyLabeledReplicas:int
  observedGeneration:int64 readyReplicas:int replicas:int terminatingReplicas:int
RollingUpdateDaemonSet: maxSurge:intstr maxUnavailable:intstr
RollingUpdateDeployment: maxSurge:intstr maxUnavailable:intstr
RollingUpdateStatefulSetStrategy: maxUnavailable:intstr partition:int
StatefulSet: metadata:ObjectMeta spec:StatefulSetSpec status:StatefulSetStatus
StatefulSetCondition: lastTransitionTime:time message reason status type
StatefulSetOrdinals: start:int
StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted whenScaled
StatefulSetSpec: minReadySeconds:int64 ordinals:StatefulSetOrdinals
  persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy podManagementPolicy
  replicas:int revisionHistoryLimit:int64 selector!:LabelSelector serviceName template!:PodTemplateSpec
  updateStrategy:StatefulSetUpdateStrategy volumeClaimTemplates:[any]
StatefulSetStatus: availableReplicas:int collisionCount:int conditions:[StatefulSetCondition](type)
  currentReplicas:int currentRevision observedGeneration:int64 readyReplicas:int replicas:int updatedReplicas:int
  updateRevision
StatefulSetUpdateStrategy: rollingUpdate:RollingUpdateStatefulSetStrategy type
CronJob: metadata:ObjectMeta spec:CronJobSpec status:CronJobStatus
CronJobSpec: concurrencyPolicy failedJobsHistoryLimit:int jobTemplate!:JobTemplateSpec schedule!
  startingDeadlineSeconds:int64 successfulJobsHistoryLimit:int suspend:bool timeZone
CronJobStatus: active:[ObjectReference] lastScheduleTime:time lastSuccessfulTime:time
Job: metadata:ObjectMeta spec:JobSpec status:JobStatus
JobCondition: lastProbeTime:time lastTransitionTime:time message reason status type
JobSpec: activeDeadlineSeconds:int64 backoffLimit:int backoffLimitPerIndex:int completionMode completions:int
  managedBy manualSelector:bool maxFailedIndexes:int parallelism:int podFailurePolicy:PodFailurePolicy
  podReplacementPolicy selector:LabelSelector successPolicy:SuccessPolicy suspend:bool template!:PodTemplateSpec
  ttlSecondsAfterFinished:int64
JobStatus: active:int completedIndexes completionTime:time conditions:[JobCondition](type) failed:int failedIndexes
  ready:int startTime:time succeeded:int terminating:int uncountedTerminatedPods:UncountedTerminatedPods
JobTemplateSpec: metadata:ObjectMeta spec:JobSpec
PodFailurePolicy: rules!:[PodFailurePolicyRule]
PodFailurePolicyOnExitCodesRequirement: containerName operator! values!:[int]
PodFailurePolicyOnPodConditionsPattern: status! type!
PodFailurePolicyRule: action! onExitCodes:PodFailurePolicyOnExitCodesRequirement
  onPodConditions:[PodFailurePolicyOnPodConditionsPattern]
SuccessPolicy: rules!:[SuccessPolicyRule]
SuccessPolicyRule: succeededCount:int succeededIndexes
UncountedTerminatedPods: failed:[] succeeded:[]
Scale: metadata:ObjectMeta spec:ScaleSpec status:ScaleStatus
ScaleSpec: replicas:int
ScaleStatus: replicas:int selector
Eviction: deleteOptions:DeleteOptions metadata:ObjectMeta
PodDisruptionBudget: metadata:ObjectMeta spec:PodDisruptionBudgetSpec status:PodDisruptionBudgetStatus
PodDisruptionBudgetSpec: maxUnavailable:intstr minAvailable:intstr selector:LabelSelector unhealthyPodEvictionPolicy
PodDisruptionBudgetStatus: conditions:[Condition](type) currentHealthy:int desiredHealthy:int disruptedPods:{time}
  disruptionsAllowed:int expectedPods:int observedGeneration:int64
PriorityClass: description globalDefault:bool metadata:ObjectMeta preemptionPolicy value!:int64
`;
