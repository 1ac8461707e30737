/**
 * Structure of the core group: pods, Services, nodes and what hangs on them.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const coreTypes = `
Affinity: nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAntiAffinity
AppArmorProfile: localhostProfile type!
AttachedVolume: devicePath! name!
Binding: metadata:ObjectMeta target!:ObjectReference
CSIVolumeSource: driver! fsType nodePublishSecretRef:LocalObjectReference readOnly:bool volumeAttributes:{}
Capabilities: add:[] drop:[]
ClientIPConfig: timeoutSeconds:int64
ClusterTrustBundleProjection: labelSelector:LabelSelector name optional:bool path! signerName
ConfigMap: binaryData:{bytes} data:{} immutable:bool metadata:ObjectMeta
ConfigMapEnvSource: name optional:bool
ConfigMapKeySelector(atomic): key! name optional:bool
ConfigMapProjection: items:[KeyToPath] name optional:bool
ConfigMapVolumeSource: defaultMode:int items:[KeyToPath] name optional:bool
Container: args:[] command:[] env:[EnvVar](name) envFrom:[EnvFromSource] image imagePullPolicy lifecycle:Lifecycle
  livenessProbe:Probe name! ports:[ContainerPort](containerPort,protocol) readinessProbe:Probe
  resizePolicy:[ContainerResizePolicy] resources:ResourceRequirements restartPolicy restartPolicyRules:any
  securityContext:SecurityContext startupProbe:Probe stdin:bool stdinOnce:bool terminationMessagePath
  terminationMessagePolicy tty:bool volumeDevices:[VolumeDevice](devicePath) volumeMounts:[VolumeMount](mountPath)
  workingDir
ContainerImage: names:[] sizeBytes:int64
ContainerPort: containerPort!:int hostIP hostPort:int name protocol=TCP
ContainerResizePolicy: resourceName! restartPolicy!
ContainerState: running:ContainerStateRunning terminated:ContainerStateTerminated waiting:ContainerStateWaiting
ContainerStateRunning: startedAt:time
ContainerStateTerminated: containerID exitCode!:int finishedAt:time message reason signal:int startedAt:time
ContainerStateWaiting: message reason
ContainerStatus: allocatedResources:{quantity} allocatedResourcesStatus:any containerID image imageID
  lastState:ContainerState name ready:bool resources:ResourceRequirements restartCount:int started:bool
  state:ContainerState stopSignal user:any volumeMounts:[VolumeMountStatus]
DaemonEndpoint: Port!:int
DownwardAPIProjection: items:[DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef:ObjectFieldSelector mode:int path! resourceFieldRef:ResourceFieldSelector
DownwardAPIVolumeSource: defaultMode:int items:[DownwardAPIVolumeFile]
EmptyDirVolumeSource: medium sizeLimit:quantity
EndpointAddress(atomic): hostname ip! nodeName targetRef:ObjectReference
EndpointPort(atomic): appProtocol name port!:int protocol=TCP
EndpointSubset: addresses:[EndpointAddress] notReadyAddresses:[EndpointAddress] ports:[EndpointPort]
Endpoints: metadata:ObjectMeta subsets:[EndpointSubset]
EnvFromSource: configMapRef:ConfigMapEnvSource prefix secretRef:SecretEnvSource
EnvVar: name! value valueFrom:EnvVarSource
EnvVarSource: configMapKeyRef:ConfigMapKeySelector fieldRef:ObjectFieldSelector fileKeyRef:any
  resourceFieldRef:ResourceFieldSelector secretKeyRef:SecretKeySelector
EphemeralContainer: args:[] command:[] env:[EnvVar](name) envFrom:[EnvFromSource] image imagePullPolicy
  lifecycle:Lifecycle livenessProbe:Probe name! ports:[ContainerPort](containerPort,protocol) readinessProbe:Probe
  resizePolicy:[ContainerResizePolicy] resources:ResourceRequirements restartPolicy securityContext:SecurityContext
  startupProbe:Probe stdin:bool stdinOnce:bool targetContainerName terminationMessagePath terminationMessagePolicy
  tty:bool volumeDevices:[VolumeDevice](devicePath) volumeMounts:[VolumeMount](mountPath) workingDir
EphemeralVolumeSource: volumeClaimTemplate:any
Event: action count:int eventTime:time firstTimestamp:time involvedObject:ObjectReference lastTimestamp:time message
  metadata:ObjectMeta reason related:ObjectReference reportingComponent reportingInstance series:EventSeries
  source:EventSource type
EventSeries: count:int lastObservedTime:time
EventSource: component host
ExecAction: command:[]
GRPCAction: port!:int service
HTTPGetAction: host httpHeaders:[HTTPHeader] path port!:intstr scheme
HTTPHeader: name! value!
HostAlias: hostnames:[] ip
HostIP: ip
HostPathVolumeSource: path! type
ImageVolumeSource: pullPolicy reference
KeyToPath: key! mode:int path!
Lifecycle: postStart:LifecycleHandler preStop:LifecycleHandler stopSignal
LifecycleHandler: exec:ExecAction httpGet:HTTPGetAction sleep:SleepAction tcpSocket:TCPSocketAction
LoadBalancerIngress: hostname ip ipMode ports:[PortStatus]
LoadBalancerStatus: ingress:[LoadBalancerIngress]
LocalObjectReference(atomic): name
NFSVolumeSource: path! readOnly:bool server!
Namespace: metadata:ObjectMeta spec:NamespaceSpec status:NamespaceStatus
NamespaceCondition: lastTransitionTime:time message reason status type
NamespaceSpec: finalizers:[]
NamespaceStatus: conditions:[NamespaceCondition](type) phase
Node: metadata:ObjectMeta spec:NodeSpec status:NodeStatus
NodeAddress: address! type!
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution:[PreferredSchedulingTerm]
  requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
NodeCondition: lastHeartbeatTime:time lastTransitionTime:time message reason status type
NodeDaemonEndpoints: kubeletEndpoint:DaemonEndpoint
NodeRuntimeHandler: features:NodeRuntimeHandlerFeatures name
NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts:bool userNamespaces:bool
NodeSelector(atomic): nodeSelectorTerms!:[NodeSelectorTerm]
NodeSelectorRequirement: key! operator! values:[]
NodeSelectorTerm(atomic): matchExpressions:[NodeSelectorRequirement] matchFields:[NodeSelectorRequirement]
NodeSpec: externalID podCIDR podCIDRs:[](set) providerID taints:[Taint] unschedulable:bool
NodeStatus: addresses:[NodeAddress](type) allocatable:{quantity} capacity:{quantity}
  conditions:[NodeCondition](type) daemonEndpoints:NodeDaemonEndpoints features:any images:[ContainerImage]
  nodeInfo:NodeSystemInfo phase runtimeHandlers:[NodeRuntimeHandler] volumesAttached:[AttachedVolume]
  volumesInUse:[]
NodeSystemInfo: architecture bootID containerRuntimeVersion kernelVersion kubeletVersion kubeProxyVersion machineID
  operatingSystem osImage systemUUID
ObjectFieldSelector(atomic): apiVersion fieldPath!
ObjectReference(atomic): apiVersion fieldPath kind name namespace resourceVersion uid
PersistentVolumeClaimVolumeSource: claimName! readOnly:bool
Pod: metadata:ObjectMeta spec:PodSpec status:PodStatus
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm]
PodAffinityTerm: labelSelector:LabelSelector matchLabelKeys:[] mismatchLabelKeys:[] namespaces:[]
  namespaceSelector:LabelSelector topologyKey!
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm]
PodCondition: lastProbeTime:time lastTransitionTime:time message observedGeneration:int64 reason status type
PodDNSConfig: nameservers:[] options:[PodDNSConfigOption] searches:[]
PodDNSConfigOption: name value
PodIP: ip
PodOS: name!
PodReadinessGate: conditionType!
PodResourceClaim: name! resourceClaimName resourceClaimTemplateName
PodResourceClaimStatus: name resourceClaimName
PodSchedulingGate: name!
PodSecurityContext: appArmorProfile:AppArmorProfile fsGroup:int64 fsGroupChangePolicy runAsGroup:int64
  runAsNonRoot:bool runAsUser:int64 seccompProfile:SeccompProfile seLinuxChangePolicy seLinuxOptions:SELinuxOptions
  supplementalGroups:[int64] supplementalGroupsPolicy sysctls:[Sysctl] windowsOptions:WindowsSecurityContextOptions
PodSpec: activeDeadlineSeconds:int64 affinity:Affinity automountServiceAccountToken:bool
  containers!:[Container](name) dnsConfig:PodDNSConfig dnsPolicy enableServiceLinks:bool
  ephemeralContainers:[EphemeralContainer](name) hostAliases:[HostAlias](ip) hostIPC:bool hostname hostnameOverride
  hostNetwork:bool hostPID:bool hostUsers:bool imagePullSecrets:[LocalObjectReference](name)
  initContainers:[Container](name) nodeName nodeSelector:{}(atomic) os:PodOS overhead:{quantity} preemptionPolicy
  priority:int priorityClassName readinessGates:[PodReadinessGate] resourceClaims:[PodResourceClaim](name)
  resources:ResourceRequirements restartPolicy runtimeClassName schedulerName
  schedulingGates:[PodSchedulingGate](name) securityContext:PodSecurityContext serviceAccount serviceAccountName
  setHostnameAsFQDN:bool shareProcessNamespace:bool subdomain terminationGracePeriodSeconds:int64
  tolerations:[Toleration] topologySpreadConstraints:[TopologySpreadConstraint](topologyKey,whenUnsatisfiable)
  volumes:[Volume](name)
PodStatus: allocatedResources:{quantity} conditions:[PodCondition](type) containerStatuses:[ContainerStatus]
  ephemeralContainerStatuses:[ContainerStatus] hostIP hostIPs:[HostIP](ip) initContainerStatuses:[ContainerStatus]
  message nominatedNodeName observedGeneration:int64 phase podIP podIPs:[PodIP](ip) qosClass reason resize
  resourceClaimStatuses:[PodResourceClaimStatus](name) resources:ResourceRequirements startTime:time
PodTemplateSpec: metadata:ObjectMeta spec:PodSpec
PortStatus: error port:int protocol
PreferredSchedulingTerm: preference!:NodeSelectorTerm weight!:int
Probe: exec:ExecAction failureThreshold:int grpc:GRPCAction httpGet:HTTPGetAction initialDelaySeconds:int64
  periodSeconds:int64 successThreshold:int tcpSocket:TCPSocketAction terminationGracePeriodSeconds:int64
  timeoutSeconds:int64
ProjectedVolumeSource: defaultMode:int sources:[VolumeProjection]
ResourceClaim: name!
ResourceFieldSelector(atomic): containerName divisor:quantity resource!
ResourceRequirements: claims:[ResourceClaim](name) limits:{quantity} requests:{quantity}
SELinuxOptions: level role type user
SeccompProfile: localhostProfile type!
Secret: data:{bytes} immutable:bool metadata:ObjectMeta stringData:{} type
SecretEnvSource: name optional:bool
SecretKeySelector(atomic): key! name optional:bool
SecretProjection: items:[KeyToPath] name optional:bool
SecretVolumeSource: defaultMode:int items:[KeyToPath] optional:bool secretName
SecurityContext: allowPrivilegeEscalation:bool appArmorProfile:AppArmorProfile capabilities:Capabilities
  privileged:bool procMount readOnlyRootFilesystem:bool runAsGroup:int64 runAsNonRoot:bool runAsUser:int64
  seccompProfile:SeccompProfile seLinuxOptions:SELinuxOptions windowsOptions:WindowsSecurityContextOptions
Service: metadata:ObjectMeta spec:ServiceSpec status:ServiceStatus
ServiceAccount: automountServiceAccountToken:bool imagePullSecrets:[LocalObjectReference] metadata:ObjectMeta
  secrets:[ObjectReference](name)
ServiceAccountTokenProjection: audience expirationSeconds:int64 path!
ServicePort: appProtocol name nodePort:int port!:int protocol=TCP targetPort:intstr
ServiceSpec: allocateLoadBalancerNodePorts:bool clusterIP clusterIPs:[] externalIPs:[] externalName
  externalTrafficPolicy healthCheckNodePort:int internalTrafficPolicy ipFamilies:[] ipFamilyPolicy loadBalancerClass
  loadBalancerIP loadBalancerSourceRanges:[] ports:[ServicePort](port,protocol) publishNotReadyAddresses:bool
  selector:{}(atomic) sessionAffinity sessionAffinityConfig:SessionAffinityConfig trafficDistribution type
ServiceStatus: conditions:[Condition](type) loadBalancer:LoadBalancerStatus
SessionAffinityConfig: clientIP:ClientIPConfig
SleepAction: seconds!:int
Sysctl: name! value!
TCPSocketAction: host port!:intstr
Taint: effect! key! timeAdded:time value
Toleration: effect key operator tolerationSeconds:int64 value
TopologySpreadConstraint: labelSelector:LabelSelector matchLabelKeys:[] maxSkew!:int minDomains:int
  nodeAffinityPolicy nodeTaintsPolicy topologyKey! whenUnsatisfiable!
Volume: awsElasticBlockStore:any azureDisk:any azureFile:any cephfs:any cinder:any configMap:ConfigMapVolumeSource
  csi:CSIVolumeSource downwardAPI:DownwardAPIVolumeSource emptyDir:EmptyDirVolumeSource
  ephemeral:EphemeralVolumeSource fc:any flexVolume:any flocker:any gcePersistentDisk:any gitRepo:any glusterfs:any
  hostPath:HostPathVolumeSource image:ImageVolumeSource iscsi:any name! nfs:NFSVolumeSource
  persistentVolumeClaim:PersistentVolumeClaimVolumeSource photonPersistentDisk:any portworxVolume:any
  projected:ProjectedVolumeSource quobyte:any rbd:any scaleIO:any secret:SecretVolumeSource storageos:any
  vsphereVolume:any
VolumeDevice: devicePath! name!
VolumeMount: mountPath! mountPropagation name! readOnly:bool recursiveReadOnly subPath subPathExpr
VolumeMountStatus: mountPath name readOnly:bool recursiveReadOnly
VolumeProjection: clusterTrustBundle:ClusterTrustBundleProjection configMap:ConfigMapProjection
  downwardAPI:DownwardAPIProjection podCertificate:any secret:SecretProjection
  serviceAccountToken:ServiceAccountTokenProjection
WeightedPodAffinityTerm: podAffinityTerm!:PodAffinityTerm weight!:int
WindowsSecurityContextOptions: gmsaCredentialSpec gmsaCredentialSpecName hostProcess:bool runAsUserName
`;
