/**
 * Structure of the core group: pods, Services, nodes and what hangs on them.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const coreTypes = `
Affinity: nodeAffinity@1:NodeAffinity? podAffinity@2:PodAffinity? podAntiAffinity@3:PodAntiAffinity?
AppArmorProfile: localhostProfile@2:string? type@1!
AttachedVolume: devicePath@2! name@1!
Binding: metadata@1:ObjectMeta target@2!:ObjectReference
CSIVolumeSource: driver@1! fsType@3:string? nodePublishSecretRef@5:LocalObjectReference? readOnly@2:bool?
  volumeAttributes@4:{}
Capabilities: add@1:[] drop@2:[]
ClientIPConfig: timeoutSeconds@1:int64?
ClusterTrustBundleProjection: labelSelector@3:LabelSelector? name@1:string? optional@5:bool? path@4!
  signerName@2:string?
ConfigMap: binaryData@3:{bytes} data@2:{} immutable@4:bool? metadata@1:ObjectMeta
ConfigMapEnvSource: name@1.1 optional@2:bool?
ConfigMapKeySelector(atomic): key@2! name@1.1 optional@3:bool?
ConfigMapProjection: items@2:[KeyToPath] name@1.1 optional@4:bool?
ConfigMapVolumeSource: defaultMode@3:int? items@2:[KeyToPath] name@1.1 optional@4:bool?
Container: args@4:[] command@3:[] env@7:[EnvVar](name) envFrom@19:[EnvFromSource] image@2 imagePullPolicy@14
  lifecycle@12:Lifecycle? livenessProbe@10:Probe? name@1! ports@6:[ContainerPort](containerPort,protocol)
  readinessProbe@11:Probe? resizePolicy@23:[ContainerResizePolicy] resources@8:ResourceRequirements
  restartPolicy@24:string? restartPolicyRules@25:any securityContext@15:SecurityContext? startupProbe@22:Probe?
  stdin@16:bool stdinOnce@17:bool terminationMessagePath@13 terminationMessagePolicy@20 tty@18:bool
  volumeDevices@21:[VolumeDevice](devicePath) volumeMounts@9:[VolumeMount](mountPath) workingDir@5
ContainerImage: names@1:[] sizeBytes@2:int64
ContainerPort: containerPort@3!:int hostIP@5 hostPort@2:int name@1 protocol@4=TCP
ContainerResizePolicy: resourceName@1! restartPolicy@2!
ContainerState: running@2:ContainerStateRunning? terminated@3:ContainerStateTerminated?
  waiting@1:ContainerStateWaiting?
ContainerStateRunning: startedAt@1:time
ContainerStateTerminated: containerID@7 exitCode@1!:int finishedAt@6:time message@4 reason@3 signal@2:int
  startedAt@5:time
ContainerStateWaiting: message@2 reason@1
ContainerStatus: allocatedResources@10:{quantity} allocatedResourcesStatus@14:any containerID@8 image@6 imageID@7
  lastState@3:ContainerState name@1 ready@4:bool resources@11:ResourceRequirements? restartCount@5:int
  started@9:bool? state@2:ContainerState stopSignal@15:string? user@13:any volumeMounts@12:[VolumeMountStatus]
DaemonEndpoint: Port@1!:int
DownwardAPIProjection: items@1:[DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef@2:ObjectFieldSelector? mode@4:int? path@1! resourceFieldRef@3:ResourceFieldSelector?
DownwardAPIVolumeSource: defaultMode@2:int? items@1:[DownwardAPIVolumeFile]
EmptyDirVolumeSource: medium@1 sizeLimit@2:quantity
EndpointAddress(atomic): hostname@3 ip@1! nodeName@4:string? targetRef@2:ObjectReference?
EndpointPort(atomic): appProtocol@4:string? name@1 port@2!:int protocol@3=TCP
EndpointSubset: addresses@1:[EndpointAddress] notReadyAddresses@2:[EndpointAddress] ports@3:[EndpointPort]
Endpoints: metadata@1:ObjectMeta subsets@2:[EndpointSubset]
EnvFromSource: configMapRef@2:ConfigMapEnvSource? prefix@1 secretRef@3:SecretEnvSource?
EnvVar: name@1! value@2 valueFrom@3:EnvVarSource?
EnvVarSource: configMapKeyRef@3:ConfigMapKeySelector? fieldRef@1:ObjectFieldSelector? fileKeyRef@5:any
  resourceFieldRef@2:ResourceFieldSelector? secretKeyRef@4:SecretKeySelector?
EphemeralContainer: args@1.4:[] command@1.3:[] env@1.7:[EnvVar](name) envFrom@1.19:[EnvFromSource] image@1.2
  imagePullPolicy@1.14 lifecycle@1.12:Lifecycle? livenessProbe@1.10:Probe? name@1.1!
  ports@1.6:[ContainerPort](containerPort,protocol) readinessProbe@1.11:Probe?
  resizePolicy@1.23:[ContainerResizePolicy] resources@1.8:ResourceRequirements restartPolicy@1.24:string?
  securityContext@1.15:SecurityContext? startupProbe@1.22:Probe? stdin@1.16:bool stdinOnce@1.17:bool
  targetContainerName@2 terminationMessagePath@1.13 terminationMessagePolicy@1.20 tty@1.18:bool
  volumeDevices@1.21:[VolumeDevice](devicePath) volumeMounts@1.9:[VolumeMount](mountPath) workingDir@1.5
EphemeralVolumeSource: volumeClaimTemplate@1:any
Event: action@12 count@8:int eventTime@10:time firstTimestamp@6:time involvedObject@2:ObjectReference
  lastTimestamp@7:time message@4 metadata@1:ObjectMeta reason@3 related@13:ObjectReference? reportingComponent@14
  reportingInstance@15 series@11:EventSeries? source@5:EventSource type@9
EventSeries: count@1:int lastObservedTime@2:time
EventSource: component@1 host@2
ExecAction: command@1:[]
GRPCAction: port@1!:int service@2:string?
HTTPGetAction: host@3 httpHeaders@5:[HTTPHeader] path@1 port@2!:intstr scheme@4
HTTPHeader: name@1! value@2!
HostAlias: hostnames@2:[] ip@1
HostIP: ip@1
HostPathVolumeSource: path@1! type@2:string?
ImageVolumeSource: pullPolicy@2 reference@1
KeyToPath: key@1! mode@3:int? path@2!
Lifecycle: postStart@1:LifecycleHandler? preStop@2:LifecycleHandler? stopSignal@3:string?
LifecycleHandler: exec@1:ExecAction? httpGet@2:HTTPGetAction? sleep@4:SleepAction? tcpSocket@3:TCPSocketAction?
LoadBalancerIngress: hostname@2 ip@1 ipMode@3:string? ports@4:[PortStatus]
LoadBalancerStatus: ingress@1:[LoadBalancerIngress]
LocalObjectReference(atomic): name@1
NFSVolumeSource: path@2! readOnly@3:bool server@1!
Namespace: metadata@1:ObjectMeta spec@2:NamespaceSpec status@3:NamespaceStatus
NamespaceCondition: lastTransitionTime@4:time message@6 reason@5 status@2 type@1
NamespaceSpec: finalizers@1:[]
NamespaceStatus: conditions@2:[NamespaceCondition](type) phase@1
Node: metadata@1:ObjectMeta spec@2:NodeSpec status@3:NodeStatus
NodeAddress: address@2! type@1!
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution@2:[PreferredSchedulingTerm]
  requiredDuringSchedulingIgnoredDuringExecution@1:NodeSelector?
NodeCondition: lastHeartbeatTime@3:time lastTransitionTime@4:time message@6 reason@5 status@2 type@1
NodeDaemonEndpoints: kubeletEndpoint@1:DaemonEndpoint
NodeRuntimeHandler: features@2:NodeRuntimeHandlerFeatures? name@1
NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts@1:bool? userNamespaces@2:bool?
NodeSelector(atomic): nodeSelectorTerms@1!:[NodeSelectorTerm]
NodeSelectorRequirement: key@1! operator@2! values@3:[]
NodeSelectorTerm(atomic): matchExpressions@1:[NodeSelectorRequirement] matchFields@2:[NodeSelectorRequirement]
NodeSpec: externalID@2 podCIDR@1 podCIDRs@7:[](set) providerID@3 taints@5:[Taint] unschedulable@4:bool
NodeStatus: addresses@5:[NodeAddress] allocatable@2:{quantity} capacity@1:{quantity}
  conditions@4:[NodeCondition](type) daemonEndpoints@6:NodeDaemonEndpoints features@13:any images@8:[ContainerImage]
  nodeInfo@7:NodeSystemInfo phase@3 runtimeHandlers@12:[NodeRuntimeHandler] volumesAttached@10:[AttachedVolume]
  volumesInUse@9:[]
NodeSystemInfo: architecture@10 bootID@3 containerRuntimeVersion@6 kernelVersion@4 kubeletVersion@7
  kubeProxyVersion@8 machineID@1 operatingSystem@9 osImage@5 systemUUID@2
ObjectFieldSelector(atomic): apiVersion@1 fieldPath@2!
ObjectReference(atomic): apiVersion@5 fieldPath@7 kind@1 name@3 namespace@2 resourceVersion@6 uid@4
PersistentVolumeClaimVolumeSource: claimName@1! readOnly@2:bool
Pod: metadata@1:ObjectMeta spec@2:PodSpec status@3:PodStatus
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution@2:[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution@1:[PodAffinityTerm]
PodAffinityTerm: labelSelector@1:LabelSelector? matchLabelKeys@5:[] mismatchLabelKeys@6:[] namespaces@2:[]
  namespaceSelector@4:LabelSelector? topologyKey@3!
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution@2:[WeightedPodAffinityTerm]
  requiredDuringSchedulingIgnoredDuringExecution@1:[PodAffinityTerm]
PodCondition: lastProbeTime@3:time lastTransitionTime@4:time message@6 observedGeneration@7:int64 reason@5 status@2
  type@1
PodDNSConfig: nameservers@1:[] options@3:[PodDNSConfigOption] searches@2:[]
PodDNSConfigOption: name@1 value@2:string?
PodIP: ip@1
PodOS: name@1!
PodReadinessGate: conditionType@1!
PodResourceClaim: name@1! request@2 resourceClaimName@3:string? resourceClaimTemplateName@4:string?
PodResourceClaimStatus: name@1 resourceClaimName@2:string?
PodSchedulingGate: name@1!
PodSecurityContext: appArmorProfile@11:AppArmorProfile? fsGroup@5:int64? fsGroupChangePolicy@9:string?
  runAsGroup@6:int64? runAsNonRoot@3:bool? runAsUser@2:int64? seccompProfile@10:SeccompProfile?
  seLinuxChangePolicy@13:string? seLinuxOptions@1:SELinuxOptions? supplementalGroups@4:[int64]
  supplementalGroupsPolicy@12:string? sysctls@7:[Sysctl] windowsOptions@8:WindowsSecurityContextOptions?
PodSpec: activeDeadlineSeconds@5:int64? affinity@18:Affinity? automountServiceAccountToken@21:bool?
  containers@2!:[Container](name) dnsConfig@26:PodDNSConfig? dnsPolicy@6 enableServiceLinks@30:bool?
  ephemeralContainers@34:[EphemeralContainer](name) hostAliases@23:[HostAlias](ip) hostIPC@13:bool hostname@16
  hostnameOverride@41:string? hostNetwork@11:bool hostPID@12:bool hostUsers@37:bool?
  imagePullSecrets@15:[LocalObjectReference](name) initContainers@20:[Container](name) nodeName@10
  nodeSelector@7:{}(atomic) os@36:PodOS? overhead@32:{quantity} preemptionPolicy@31:string? priority@25:int?
  priorityClassName@24 readinessGates@28:[PodReadinessGate] resourceClaims@39:[PodResourceClaim](name)
  resources@40:ResourceRequirements? restartPolicy@3 runtimeClassName@29:string? schedulerName@19
  schedulingGates@38:[PodSchedulingGate](name) securityContext@14:PodSecurityContext? serviceAccount@9
  serviceAccountName@8 setHostnameAsFQDN@35:bool? shareProcessNamespace@27:bool? subdomain@17
  terminationGracePeriodSeconds@4:int64? tolerations@22:[Toleration]
  topologySpreadConstraints@33:[TopologySpreadConstraint](topologyKey,whenUnsatisfiable) volumes@1:[Volume](name)
PodStatus: conditions@2:[PodCondition](type) containerStatuses@8:[ContainerStatus]
  ephemeralContainerStatuses@13:[ContainerStatus] hostIP@5 hostIPs@16:[HostIP](ip)
  initContainerStatuses@10:[ContainerStatus] message@3 nominatedNodeName@11 observedGeneration@17:int64 phase@1
  podIP@6 podIPs@12:[PodIP](ip) qosClass@9 reason@4 resize@14
  resourceClaimStatuses@15:[PodResourceClaimStatus](name) startTime@7:time
PodTemplateSpec: metadata@1:ObjectMeta spec@2:PodSpec
PortStatus: error@3:string? port@1:int protocol@2
PreferredSchedulingTerm: preference@2!:NodeSelectorTerm weight@1!:int
Probe: exec@1.1:ExecAction? failureThreshold@6:int grpc@1.4:GRPCAction? httpGet@1.2:HTTPGetAction?
  initialDelaySeconds@2:int64 periodSeconds@4:int64 successThreshold@5:int tcpSocket@1.3:TCPSocketAction?
  terminationGracePeriodSeconds@7:int64? timeoutSeconds@3:int64
ProjectedVolumeSource: defaultMode@2:int? sources@1:[VolumeProjection]
ResourceClaim: name@1! request@2
ResourceFieldSelector(atomic): containerName@1 divisor@3:quantity resource@2!
ResourceRequirements: claims@3:[ResourceClaim](name) limits@1:{quantity} requests@2:{quantity}
SELinuxOptions: level@4 role@2 type@3 user@1
SeccompProfile: localhostProfile@2:string? type@1!
Secret: data@2:{bytes} immutable@5:bool? metadata@1:ObjectMeta stringData@4:{} type@3
SecretEnvSource: name@1.1 optional@2:bool?
SecretKeySelector(atomic): key@2! name@1.1 optional@3:bool?
SecretProjection: items@2:[KeyToPath] name@1.1 optional@4:bool?
SecretVolumeSource: defaultMode@3:int? items@2:[KeyToPath] optional@4:bool? secretName@1
SecurityContext: allowPrivilegeEscalation@7:bool? appArmorProfile@12:AppArmorProfile? capabilities@1:Capabilities?
  privileged@2:bool? procMount@9:string? readOnlyRootFilesystem@6:bool? runAsGroup@8:int64? runAsNonRoot@5:bool?
  runAsUser@4:int64? seccompProfile@11:SeccompProfile? seLinuxOptions@3:SELinuxOptions?
  windowsOptions@10:WindowsSecurityContextOptions?
Service: metadata@1:ObjectMeta spec@2:ServiceSpec status@3:ServiceStatus
ServiceAccount: automountServiceAccountToken@4:bool? imagePullSecrets@3:[LocalObjectReference] metadata@1:ObjectMeta
  secrets@2:[ObjectReference](name)
ServiceAccountTokenProjection: audience@1 expirationSeconds@2:int64? path@3!
ServicePort: appProtocol@6:string? name@1 nodePort@5:int port@3!:int protocol@2=TCP targetPort@4:intstr
ServiceSpec: allocateLoadBalancerNodePorts@20:bool? clusterIP@3 clusterIPs@18:[] externalIPs@5:[] externalName@10
  externalTrafficPolicy@11 healthCheckNodePort@12:int internalTrafficPolicy@22:string? ipFamilies@19:[]
  ipFamilyPolicy@17:string? loadBalancerClass@21:string? loadBalancerIP@8 loadBalancerSourceRanges@9:[]
  ports@1:[ServicePort](port,protocol) publishNotReadyAddresses@13:bool selector@2:{}(atomic) sessionAffinity@7
  sessionAffinityConfig@14:SessionAffinityConfig? trafficDistribution@23:string? type@4
ServiceStatus: conditions@2:[Condition](type) loadBalancer@1:LoadBalancerStatus
SessionAffinityConfig: clientIP@1:ClientIPConfig?
SleepAction: seconds@1!:int
Sysctl: name@1! value@2!
TCPSocketAction: host@2 port@1!:intstr
Taint: effect@3! key@1! timeAdded@4:time value@2
Toleration: effect@4 key@1 operator@2 tolerationSeconds@5:int64? value@3
TopologySpreadConstraint: labelSelector@4:LabelSelector? matchLabelKeys@8:[] maxSkew@1!:int minDomains@5:int?
  nodeAffinityPolicy@6:string? nodeTaintsPolicy@7:string? topologyKey@2! whenUnsatisfiable@3!
Volume: awsElasticBlockStore@2.4:any azureDisk@2.22:any azureFile@2.18:any cephfs@2.14:any cinder@2.13:any
  configMap@2.19:ConfigMapVolumeSource? csi@2.28:CSIVolumeSource? downwardAPI@2.16:DownwardAPIVolumeSource?
  emptyDir@2.2:EmptyDirVolumeSource? ephemeral@2.29:EphemeralVolumeSource? fc@2.17:any flexVolume@2.12:any
  flocker@2.15:any gcePersistentDisk@2.3:any gitRepo@2.5:any glusterfs@2.9:any hostPath@2.1:HostPathVolumeSource?
  image@2.30:ImageVolumeSource? iscsi@2.8:any name@1! nfs@2.7:NFSVolumeSource?
  persistentVolumeClaim@2.10:PersistentVolumeClaimVolumeSource? photonPersistentDisk@2.23:any
  portworxVolume@2.24:any projected@2.26:ProjectedVolumeSource? quobyte@2.21:any rbd@2.11:any scaleIO@2.25:any
  secret@2.6:SecretVolumeSource? storageos@2.27:any vsphereVolume@2.20:any
VolumeDevice: devicePath@2! name@1!
VolumeMount: mountPath@3! mountPropagation@5:string? name@1! readOnly@2:bool recursiveReadOnly@7:string? subPath@4
  subPathExpr@6
VolumeMountStatus: mountPath@2 name@1 readOnly@3:bool recursiveReadOnly@4:string?
VolumeProjection: clusterTrustBundle@5:ClusterTrustBundleProjection? configMap@3:ConfigMapProjection?
  downwardAPI@2:DownwardAPIProjection? podCertificate@6:any secret@1:SecretProjection?
  serviceAccountToken@4:ServiceAccountTokenProjection?
WeightedPodAffinityTerm: podAffinityTerm@2!:PodAffinityTerm weight@1!:int
WindowsSecurityContextOptions: gmsaCredentialSpec@2:string? gmsaCredentialSpecName@1:string? hostProcess@4:bool?
  runAsUserName@3:string?
`;
