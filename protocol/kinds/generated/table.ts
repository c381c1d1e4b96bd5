// Made by `npm run gen:kinds`; do not edit.
// The field tables come from Kubernetes (k8s.io/api, k8s.io/apimachinery; Apache-2.0).

export const TABLE = `#io.k8s.apimachinery.pkg.apis.meta.v1
Condition;type 1 s !;status 2 s !;observedGeneration 3 l;lastTransitionTime 4 t !;reason 5 s !;message 6 s !
CreateOptions k;dryRun 1 [s Latomic;fieldManager 3 s;fieldValidation 4 s
DeleteOptions k;gracePeriodSeconds 1 *l;preconditions 2 *mPreconditions;orphanDependents 3 *b;propagationPolicy 4 *s;dryRun 5 [s Latomic;ignoreStoreReadErrorWithClusterBreakingPotential 6 *b
FieldSelectorRequirement;key 1 s !;operator 2 s !;values 3 [s Latomic
LabelSelector a;matchLabels 1 {s;matchExpressions 2 [mLabelSelectorRequirement Latomic
LabelSelectorRequirement;key 1 s !;operator 2 s !;values 3 [s Latomic
List k;metadata 1 mListMeta;items 2 [r !
ListMeta;selfLink 1 s;resourceVersion 2 s;continue 3 s;remainingItemCount 4 *l;shardInfo 5 *mShardInfo
ManagedFieldsEntry;manager 1 s;operation 2 s;apiVersion 3 s;time 4 *t;fieldsType 6 s;fieldsV1 7 *f;subresource 8 s
ObjectMeta;name 1 s;generateName 2 s;namespace 3 s;selfLink 4 s;uid 5 s;resourceVersion 6 s;generation 7 l;creationTimestamp 8 t;deletionTimestamp 9 *t;deletionGracePeriodSeconds 10 *l;labels 11 {s;annotations 12 {s;ownerReferences 13 [mOwnerReference Lmap Kuid Smerge Muid;finalizers 14 [s Lset Smerge;managedFields 17 [mManagedFieldsEntry Latomic
OwnerReference a;apiVersion 5 s !;kind 1 s !;name 3 s !;uid 4 s !;controller 6 *b;blockOwnerDeletion 7 *b
PartialObjectMetadata k;metadata 1 mObjectMeta
PartialObjectMetadataList k;metadata 1 mListMeta;items 2 [mPartialObjectMetadata !
PatchOptions k;dryRun 1 [s Latomic;force 2 *b;fieldManager 3 s;fieldValidation 4 s
Preconditions;uid 1 *s;resourceVersion 2 *s
ShardInfo;selector 1 s !
Status k;metadata 1 mListMeta;status 2 s;message 3 s;reason 4 s;details 5 *mStatusDetails;code 6 i
StatusCause;reason 1 s;message 2 s;field 3 s
StatusDetails;name 1 s;group 2 s;kind 3 s;uid 6 s;causes 4 [mStatusCause Latomic;retryAfterSeconds 5 i
UpdateOptions k;dryRun 1 [s Latomic;fieldManager 2 s;fieldValidation 3 s
#io.k8s.api.core.v1 core v1
AWSElasticBlockStoreVolumeSource;volumeID 1 s !;fsType 2 s;partition 3 i;readOnly 4 b
Affinity;nodeAffinity 1 *mNodeAffinity;podAffinity 2 *mPodAffinity;podAntiAffinity 3 *mPodAntiAffinity
AppArmorProfile;type 1 s !;localhostProfile 2 *s
AttachedVolume;name 1 s !;devicePath 2 s !
AzureDiskVolumeSource;diskName 1 s !;diskURI 2 s !;cachingMode 3 *s;fsType 4 *s D"ext4";readOnly 5 *b Dfalse;kind 6 *s
AzureFilePersistentVolumeSource;secretName 1 s !;shareName 2 s !;readOnly 3 b;secretNamespace 4 *s
AzureFileVolumeSource;secretName 1 s !;shareName 2 s !;readOnly 3 b
Binding k;metadata 1 m0.ObjectMeta;target 2 mObjectReference !
CSIPersistentVolumeSource;driver 1 s !;volumeHandle 2 s !;readOnly 3 b;fsType 4 s;volumeAttributes 5 {s;controllerPublishSecretRef 6 *mSecretReference;nodeStageSecretRef 7 *mSecretReference;nodePublishSecretRef 8 *mSecretReference;controllerExpandSecretRef 9 *mSecretReference;nodeExpandSecretRef 10 *mSecretReference
CSIVolumeSource;driver 1 s !;readOnly 2 *b;fsType 3 *s;volumeAttributes 4 {s;nodePublishSecretRef 5 *mLocalObjectReference
Capabilities;add 1 [s Latomic;drop 2 [s Latomic
CephFSPersistentVolumeSource;monitors 1 [s ! Latomic;path 2 s;user 3 s;secretFile 4 s;secretRef 5 *mSecretReference;readOnly 6 b
CephFSVolumeSource;monitors 1 [s ! Latomic;path 2 s;user 3 s;secretFile 4 s;secretRef 5 *mLocalObjectReference;readOnly 6 b
CinderPersistentVolumeSource;volumeID 1 s !;fsType 2 s;readOnly 3 b;secretRef 4 *mSecretReference
CinderVolumeSource;volumeID 1 s !;fsType 2 s;readOnly 3 b;secretRef 4 *mLocalObjectReference
ClientIPConfig;timeoutSeconds 1 *i
ClusterTrustBundleProjection;name 1 *s;signerName 2 *s;labelSelector 3 *m0.LabelSelector;optional 5 *b;path 4 s !
ComponentCondition;type 1 s !;status 2 s !;message 3 s;error 4 s
ComponentStatus k;metadata 1 m0.ObjectMeta;conditions 2 [mComponentCondition Lmap Ktype Smerge Mtype
ComponentStatusList k;metadata 1 m0.ListMeta;items 2 [mComponentStatus !
ConfigMap k;metadata 1 m0.ObjectMeta;immutable 4 *b;data 2 {s;binaryData 3 {y
ConfigMapEnvSource; 1 mLocalObjectReference;optional 2 *b
ConfigMapKeySelector a; 1 mLocalObjectReference;key 2 s !;optional 3 *b
ConfigMapList k;metadata 1 m0.ListMeta;items 2 [mConfigMap !
ConfigMapNodeConfigSource;namespace 1 s !;name 2 s !;uid 3 s;resourceVersion 4 s;kubeletConfigKey 5 s !
ConfigMapProjection; 1 mLocalObjectReference;items 2 [mKeyToPath Latomic;optional 4 *b
ConfigMapVolumeSource; 1 mLocalObjectReference;items 2 [mKeyToPath Latomic;defaultMode 3 *i;optional 4 *b
Container;name 1 s !;image 2 s;command 3 [s Latomic;args 4 [s Latomic;workingDir 5 s;ports 6 [mContainerPort Lmap KcontainerPort,protocol Smerge McontainerPort;envFrom 19 [mEnvFromSource Latomic;env 7 [mEnvVar Lmap Kname Smerge Mname;resources 8 mResourceRequirements;resizePolicy 23 [mContainerResizePolicy Latomic;restartPolicy 24 *s;restartPolicyRules 25 [mContainerRestartRule Latomic;volumeMounts 9 [mVolumeMount Lmap KmountPath Smerge MmountPath;volumeDevices 21 [mVolumeDevice Lmap KdevicePath Smerge MdevicePath;livenessProbe 10 *mProbe;readinessProbe 11 *mProbe;startupProbe 22 *mProbe;lifecycle 12 *mLifecycle;terminationMessagePath 13 s;terminationMessagePolicy 20 s;imagePullPolicy 14 s;securityContext 15 *mSecurityContext;stdin 16 b;stdinOnce 17 b;tty 18 b
ContainerExtendedResourceRequest;containerName 1 s !;resourceName 2 s !;requestName 3 s !
ContainerImage;names 1 [s Latomic;sizeBytes 2 l
ContainerPort;name 1 s;hostPort 2 i;containerPort 3 i !;protocol 4 s D"TCP";hostIP 5 s
ContainerResizePolicy;resourceName 1 s !;restartPolicy 2 s !
ContainerRestartRule;action 1 s !;exitCodes 2 *mContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes;operator 1 s !;values 2 [i Lset
ContainerState;waiting 1 *mContainerStateWaiting;running 2 *mContainerStateRunning;terminated 3 *mContainerStateTerminated
ContainerStateRunning;startedAt 1 t
ContainerStateTerminated;exitCode 1 i !;signal 2 i;reason 3 s;message 4 s;startedAt 5 t;finishedAt 6 t;containerID 7 s
ContainerStateWaiting;reason 1 s;message 2 s
ContainerStatus;name 1 s !;state 2 mContainerState;lastState 3 mContainerState;ready 4 b !;restartCount 5 i !;image 6 s !;imageID 7 s !;containerID 8 s;started 9 *b;allocatedResources 10 {q;resources 11 *mResourceRequirements;volumeMounts 12 [mVolumeMountStatus Lmap KmountPath Smerge MmountPath;user 13 *mContainerUser;allocatedResourcesStatus 14 [mResourceStatus Lmap Kname Smerge Mname;stopSignal 15 *s
ContainerUser;linux 1 *mLinuxContainerUser
DaemonEndpoint;Port 1 i !
DownwardAPIProjection;items 1 [mDownwardAPIVolumeFile Latomic
DownwardAPIVolumeFile;path 1 s !;fieldRef 2 *mObjectFieldSelector;resourceFieldRef 3 *mResourceFieldSelector;mode 4 *i
DownwardAPIVolumeSource;items 1 [mDownwardAPIVolumeFile Latomic;defaultMode 2 *i
EmptyDirVolumeSource;medium 1 s;sizeLimit 2 *q
EndpointAddress a;ip 1 s !;hostname 3 s;nodeName 4 *s;targetRef 2 *mObjectReference
EndpointPort a;name 1 s;port 2 i !;protocol 3 s;appProtocol 4 *s
EndpointSubset;addresses 1 [mEndpointAddress Latomic;notReadyAddresses 2 [mEndpointAddress Latomic;ports 3 [mEndpointPort Latomic
Endpoints k;metadata 1 m0.ObjectMeta;subsets 2 [mEndpointSubset Latomic
EndpointsList k;metadata 1 m0.ListMeta;items 2 [mEndpoints !
EnvFromSource;prefix 1 s;configMapRef 2 *mConfigMapEnvSource;secretRef 3 *mSecretEnvSource
EnvVar;name 1 s !;value 2 s;valueFrom 3 *mEnvVarSource
EnvVarSource;fieldRef 1 *mObjectFieldSelector;resourceFieldRef 2 *mResourceFieldSelector;configMapKeyRef 3 *mConfigMapKeySelector;secretKeyRef 4 *mSecretKeySelector;fileKeyRef 5 *mFileKeySelector
EphemeralContainer; 1 mEphemeralContainerCommon;targetContainerName 2 s
EphemeralContainerCommon;name 1 s !;image 2 s;command 3 [s Latomic;args 4 [s Latomic;workingDir 5 s;ports 6 [mContainerPort Lmap KcontainerPort,protocol Smerge McontainerPort;envFrom 19 [mEnvFromSource Latomic;env 7 [mEnvVar Lmap Kname Smerge Mname;resources 8 mResourceRequirements;resizePolicy 23 [mContainerResizePolicy Latomic;restartPolicy 24 *s;restartPolicyRules 25 [mContainerRestartRule Latomic;volumeMounts 9 [mVolumeMount Lmap KmountPath Smerge MmountPath;volumeDevices 21 [mVolumeDevice Lmap KdevicePath Smerge MdevicePath;livenessProbe 10 *mProbe;readinessProbe 11 *mProbe;startupProbe 22 *mProbe;lifecycle 12 *mLifecycle;terminationMessagePath 13 s;terminationMessagePolicy 20 s;imagePullPolicy 14 s;securityContext 15 *mSecurityContext;stdin 16 b;stdinOnce 17 b;tty 18 b
EphemeralVolumeSource;volumeClaimTemplate 1 *mPersistentVolumeClaimTemplate
Event k;metadata 1 m0.ObjectMeta !;involvedObject 2 mObjectReference !;reason 3 s;message 4 s;source 5 mEventSource;firstTimestamp 6 t;lastTimestamp 7 t;count 8 i;type 9 s;eventTime 10 u;series 11 *mEventSeries;action 12 s;related 13 *mObjectReference;reportingComponent 14 s Z;reportingInstance 15 s Z
EventList k;metadata 1 m0.ListMeta;items 2 [mEvent !
EventSeries;count 1 i;lastObservedTime 2 u
EventSource;component 1 s;host 2 s
ExecAction;command 1 [s Latomic
FCVolumeSource;targetWWNs 1 [s Latomic;lun 2 *i;fsType 3 s;readOnly 4 b;wwids 5 [s Latomic
FileKeySelector a;volumeName 1 s !;path 2 s !;key 3 s !;optional 4 *b Dfalse
FlexPersistentVolumeSource;driver 1 s !;fsType 2 s;secretRef 3 *mSecretReference;readOnly 4 b;options 5 {s
FlexVolumeSource;driver 1 s !;fsType 2 s;secretRef 3 *mLocalObjectReference;readOnly 4 b;options 5 {s
FlockerVolumeSource;datasetName 1 s;datasetUUID 2 s
GCEPersistentDiskVolumeSource;pdName 1 s !;fsType 2 s;partition 3 i;readOnly 4 b
GRPCAction;port 1 i !;service 2 *s D""
GitRepoVolumeSource;repository 1 s !;revision 2 s;directory 3 s
GlusterfsPersistentVolumeSource;endpoints 1 s !;path 2 s !;readOnly 3 b;endpointsNamespace 4 *s
GlusterfsVolumeSource;endpoints 1 s !;path 2 s !;readOnly 3 b
HTTPGetAction;path 1 s;port 2 x !;host 3 s;scheme 4 s;httpHeaders 5 [mHTTPHeader Latomic
HTTPHeader;name 1 s !;value 2 s !
HostAlias;ip 1 s !;hostnames 2 [s Latomic
HostIP;ip 1 s !
HostPathVolumeSource;path 1 s !;type 2 *s
ISCSIPersistentVolumeSource;targetPortal 1 s !;iqn 2 s !;lun 3 i !;iscsiInterface 4 s D"default";fsType 5 s;readOnly 6 b;portals 7 [s Latomic;chapAuthDiscovery 8 b;chapAuthSession 11 b;secretRef 10 *mSecretReference;initiatorName 12 *s
ISCSIVolumeSource;targetPortal 1 s !;iqn 2 s !;lun 3 i !;iscsiInterface 4 s D"default";fsType 5 s;readOnly 6 b;portals 7 [s Latomic;chapAuthDiscovery 8 b;chapAuthSession 11 b;secretRef 10 *mLocalObjectReference;initiatorName 12 *s
ImageVolumeSource;reference 1 s;pullPolicy 2 s
ImageVolumeStatus;imageRef 1 s !
KeyToPath;key 1 s !;path 2 s !;mode 3 *i
Lifecycle;postStart 1 *mLifecycleHandler;preStop 2 *mLifecycleHandler;stopSignal 3 *s
LifecycleHandler;exec 1 *mExecAction;httpGet 2 *mHTTPGetAction;tcpSocket 3 *mTCPSocketAction;sleep 4 *mSleepAction
LimitRange k;metadata 1 m0.ObjectMeta;spec 2 mLimitRangeSpec
LimitRangeItem;type 1 s !;max 2 {q;min 3 {q;default 4 {q;defaultRequest 5 {q;maxLimitRequestRatio 6 {q
LimitRangeList k;metadata 1 m0.ListMeta;items 2 [mLimitRange !
LimitRangeSpec;limits 1 [mLimitRangeItem ! Latomic
LinuxContainerUser;uid 1 l !;gid 2 l !;supplementalGroups 3 [l Latomic
LoadBalancerIngress;ip 1 s;hostname 2 s;ipMode 3 *s;ports 4 [mPortStatus Latomic
LoadBalancerStatus;ingress 1 [mLoadBalancerIngress Latomic
LocalObjectReference a;name 1 s D""
LocalVolumeSource;path 1 s !;fsType 2 *s
ModifyVolumeStatus;targetVolumeAttributesClassName 1 s;status 2 s !
NFSVolumeSource;server 1 s !;path 2 s !;readOnly 3 b
Namespace k;metadata 1 m0.ObjectMeta;spec 2 mNamespaceSpec;status 3 mNamespaceStatus
NamespaceCondition;type 1 s !;status 2 s !;lastTransitionTime 4 t;reason 5 s;message 6 s
NamespaceList k;metadata 1 m0.ListMeta;items 2 [mNamespace !
NamespaceSpec;finalizers 1 [s Latomic
NamespaceStatus;phase 1 s;conditions 2 [mNamespaceCondition Lmap Ktype Smerge Mtype
Node k;metadata 1 m0.ObjectMeta;spec 2 mNodeSpec;status 3 mNodeStatus
NodeAddress;type 1 s !;address 2 s !
NodeAffinity;requiredDuringSchedulingIgnoredDuringExecution 1 *mNodeSelector;preferredDuringSchedulingIgnoredDuringExecution 2 [mPreferredSchedulingTerm Latomic
NodeAllocatableResourceClaimStatus;resourceClaimName 1 s !;containers 2 [s Lset;resources 3 {q !
NodeCondition;type 1 s !;status 2 s !;lastHeartbeatTime 3 t;lastTransitionTime 4 t;reason 5 s;message 6 s
NodeConfigSource;configMap 2 *mConfigMapNodeConfigSource
NodeConfigStatus;assigned 1 *mNodeConfigSource;active 2 *mNodeConfigSource;lastKnownGood 3 *mNodeConfigSource;error 4 s
NodeDaemonEndpoints;kubeletEndpoint 1 mDaemonEndpoint
NodeFeatures;supplementalGroupsPolicy 1 *b
NodeList k;metadata 1 m0.ListMeta;items 2 [mNode !
NodeProxyOptions k;path 1 s
NodeRuntimeHandler;name 1 s Z;features 2 *mNodeRuntimeHandlerFeatures
NodeRuntimeHandlerFeatures;recursiveReadOnlyMounts 1 *b;userNamespaces 2 *b
NodeSelector a;nodeSelectorTerms 1 [mNodeSelectorTerm ! Latomic
NodeSelectorRequirement;key 1 s !;operator 2 s !;values 3 [s Latomic
NodeSelectorTerm a;matchExpressions 1 [mNodeSelectorRequirement Latomic;matchFields 2 [mNodeSelectorRequirement Latomic
NodeSpec;podCIDR 1 s;podCIDRs 7 [s Lset Smerge;providerID 3 s;unschedulable 4 b;taints 5 [mTaint Latomic;configSource 6 *mNodeConfigSource;externalID 2 s
NodeStatus;capacity 1 {q;allocatable 2 {q;phase 3 s;conditions 4 [mNodeCondition Lmap Ktype Smerge Mtype;addresses 5 [mNodeAddress Lmap Ktype Smerge Mtype;daemonEndpoints 6 mNodeDaemonEndpoints;nodeInfo 7 mNodeSystemInfo;images 8 [mContainerImage Latomic;volumesInUse 9 [s Latomic;volumesAttached 10 [mAttachedVolume Latomic;config 11 *mNodeConfigStatus;runtimeHandlers 12 [mNodeRuntimeHandler Latomic;features 13 *mNodeFeatures;declaredFeatures 14 [s Latomic
NodeSwapStatus;capacity 1 *l
NodeSystemInfo;machineID 1 s !;systemUUID 2 s !;bootID 3 s !;kernelVersion 4 s !;osImage 5 s !;containerRuntimeVersion 6 s !;kubeletVersion 7 s !;kubeProxyVersion 8 s !;operatingSystem 9 s !;architecture 10 s !;swap 11 *mNodeSwapStatus
ObjectFieldSelector a;apiVersion 1 s;fieldPath 2 s !
ObjectReference a;kind 1 s;namespace 2 s;name 3 s;uid 4 s;apiVersion 5 s;resourceVersion 6 s;fieldPath 7 s
PersistentVolume k;metadata 1 m0.ObjectMeta;spec 2 mPersistentVolumeSpec;status 3 mPersistentVolumeStatus
PersistentVolumeClaim k;metadata 1 m0.ObjectMeta;spec 2 mPersistentVolumeClaimSpec;status 3 mPersistentVolumeClaimStatus
PersistentVolumeClaimCondition;type 1 s !;status 2 s !;lastProbeTime 3 t;lastTransitionTime 4 t;reason 5 s;message 6 s
PersistentVolumeClaimList k;metadata 1 m0.ListMeta;items 2 [mPersistentVolumeClaim !
PersistentVolumeClaimSpec;accessModes 1 [s Latomic;selector 4 *m0.LabelSelector;resources 2 mVolumeResourceRequirements;volumeName 3 s;storageClassName 5 *s;volumeMode 6 *s;dataSource 7 *mTypedLocalObjectReference;dataSourceRef 8 *mTypedObjectReference;volumeAttributesClassName 9 *s
PersistentVolumeClaimStatus;phase 1 s;accessModes 2 [s Latomic;capacity 3 {q;conditions 4 [mPersistentVolumeClaimCondition Lmap Ktype Smerge Mtype;allocatedResources 5 {q;allocatedResourceStatuses 7 {s Tgranular;currentVolumeAttributesClassName 8 *s;modifyVolumeStatus 9 *mModifyVolumeStatus
PersistentVolumeClaimTemplate;metadata 1 m0.ObjectMeta;spec 2 mPersistentVolumeClaimSpec !
PersistentVolumeClaimVolumeSource;claimName 1 s !;readOnly 2 b
PersistentVolumeList k;metadata 1 m0.ListMeta;items 2 [mPersistentVolume !
PersistentVolumeSource;gcePersistentDisk 1 *mGCEPersistentDiskVolumeSource;awsElasticBlockStore 2 *mAWSElasticBlockStoreVolumeSource;hostPath 3 *mHostPathVolumeSource;glusterfs 4 *mGlusterfsPersistentVolumeSource;nfs 5 *mNFSVolumeSource;rbd 6 *mRBDPersistentVolumeSource;iscsi 7 *mISCSIPersistentVolumeSource;cinder 8 *mCinderPersistentVolumeSource;cephfs 9 *mCephFSPersistentVolumeSource;fc 10 *mFCVolumeSource;flocker 11 *mFlockerVolumeSource;flexVolume 12 *mFlexPersistentVolumeSource;azureFile 13 *mAzureFilePersistentVolumeSource;vsphereVolume 14 *mVsphereVirtualDiskVolumeSource;quobyte 15 *mQuobyteVolumeSource;azureDisk 16 *mAzureDiskVolumeSource;photonPersistentDisk 17 *mPhotonPersistentDiskVolumeSource;portworxVolume 18 *mPortworxVolumeSource;scaleIO 19 *mScaleIOPersistentVolumeSource;local 20 *mLocalVolumeSource;storageos 21 *mStorageOSPersistentVolumeSource;csi 22 *mCSIPersistentVolumeSource
PersistentVolumeSpec;capacity 1 {q; 2 mPersistentVolumeSource;accessModes 3 [s Latomic;claimRef 4 *mObjectReference Tgranular;persistentVolumeReclaimPolicy 5 s;storageClassName 6 s;mountOptions 7 [s Latomic;volumeMode 8 *s;nodeAffinity 9 *mVolumeNodeAffinity;volumeAttributesClassName 10 *s
PersistentVolumeStatus;phase 1 s;message 2 s;reason 3 s;lastPhaseTransitionTime 4 *t
PhotonPersistentDiskVolumeSource;pdID 1 s !;fsType 2 s
Pod k;metadata 1 m0.ObjectMeta;spec 2 mPodSpec;status 3 mPodStatus
PodAffinity;requiredDuringSchedulingIgnoredDuringExecution 1 [mPodAffinityTerm Latomic;preferredDuringSchedulingIgnoredDuringExecution 2 [mWeightedPodAffinityTerm Latomic
PodAffinityTerm;labelSelector 1 *m0.LabelSelector;namespaces 2 [s Latomic;topologyKey 3 s !;namespaceSelector 4 *m0.LabelSelector;matchLabelKeys 5 [s Latomic;mismatchLabelKeys 6 [s Latomic
PodAntiAffinity;requiredDuringSchedulingIgnoredDuringExecution 1 [mPodAffinityTerm Latomic;preferredDuringSchedulingIgnoredDuringExecution 2 [mWeightedPodAffinityTerm Latomic
PodAttachOptions k;stdin 1 b;stdout 2 b;stderr 3 b;tty 4 b;container 5 s
PodCertificateProjection;signerName 1 s !;keyType 2 s !;maxExpirationSeconds 3 *i;credentialBundlePath 4 s;keyPath 5 s;certificateChainPath 6 s;userAnnotations 7 {s
PodCondition;type 1 s !;observedGeneration 7 l;status 2 s !;lastProbeTime 3 t;lastTransitionTime 4 t;reason 5 s;message 6 s
PodDNSConfig;nameservers 1 [s Latomic;searches 2 [s Latomic;options 3 [mPodDNSConfigOption Latomic
PodDNSConfigOption;name 1 s;value 2 *s
PodExecOptions k;stdin 1 b;stdout 2 b;stderr 3 b;tty 4 b;container 5 s;command 6 [s ! Latomic
PodExtendedResourceClaimStatus;requestMappings 1 [mContainerExtendedResourceRequest ! Latomic;resourceClaimName 2 s !
PodIP;ip 1 s !
PodList k;metadata 1 m0.ListMeta;items 2 [mPod !
PodLogOptions k;container 1 s;follow 2 b;previous 3 b;sinceSeconds 4 *l;sinceTime 5 *t;timestamps 6 b;tailLines 7 *l;limitBytes 8 *l;insecureSkipTLSVerifyBackend 9 b;stream 10 *s
PodOS;name 1 s !
PodPortForwardOptions k;ports 1 [i Latomic
PodProxyOptions k;path 1 s
PodReadinessGate;conditionType 1 s !
PodResourceClaim;name 1 s !;resourceClaimName 3 *s;resourceClaimTemplateName 4 *s
PodResourceClaimStatus;name 1 s !;resourceClaimName 2 *s
PodSchedulingGate;name 1 s !
PodSchedulingGroup;podGroupName 1 *s
PodSecurityContext;seLinuxOptions 1 *mSELinuxOptions;windowsOptions 8 *mWindowsSecurityContextOptions;runAsUser 2 *l;runAsGroup 6 *l;runAsNonRoot 3 *b;supplementalGroups 4 [l Latomic;supplementalGroupsPolicy 12 *s;fsGroup 5 *l;sysctls 7 [mSysctl Latomic;fsGroupChangePolicy 9 *s;seccompProfile 10 *mSeccompProfile;appArmorProfile 11 *mAppArmorProfile;seLinuxChangePolicy 13 *s
PodSpec;volumes 1 [mVolume Lmap Kname Smerge,retainKeys Mname;initContainers 20 [mContainer Lmap Kname Smerge Mname;containers 2 [mContainer ! Lmap Kname Smerge Mname;ephemeralContainers 34 [mEphemeralContainer Lmap Kname Smerge Mname;restartPolicy 3 s;terminationGracePeriodSeconds 4 *l;activeDeadlineSeconds 5 *l;dnsPolicy 6 s;nodeSelector 7 {s Tatomic;serviceAccountName 8 s;serviceAccount 9 s;automountServiceAccountToken 21 *b;nodeName 10 s;hostNetwork 11 b;hostPID 12 b;hostIPC 13 b;shareProcessNamespace 27 *b;securityContext 14 *mPodSecurityContext;imagePullSecrets 15 [mLocalObjectReference Lmap Kname Smerge Mname;hostname 16 s;subdomain 17 s;affinity 18 *mAffinity;schedulerName 19 s;tolerations 22 [mToleration Latomic;hostAliases 23 [mHostAlias Lmap Kip Smerge Mip;priorityClassName 24 s;priority 25 *i;dnsConfig 26 *mPodDNSConfig;readinessGates 28 [mPodReadinessGate Latomic;runtimeClassName 29 *s;enableServiceLinks 30 *b;preemptionPolicy 31 *s;overhead 32 {q;topologySpreadConstraints 33 [mTopologySpreadConstraint Lmap KtopologyKey,whenUnsatisfiable Smerge MtopologyKey;setHostnameAsFQDN 35 *b;os 36 *mPodOS;hostUsers 37 *b;schedulingGates 38 [mPodSchedulingGate Lmap Kname Smerge Mname;resourceClaims 39 [mPodResourceClaim Lmap Kname Smerge,retainKeys Mname;resources 40 *mResourceRequirements;hostnameOverride 41 *s;schedulingGroup 43 *mPodSchedulingGroup
PodStatus;observedGeneration 17 l;phase 1 s;conditions 2 [mPodCondition Lmap Ktype Smerge Mtype;message 3 s;reason 4 s;nominatedNodeName 11 s;hostIP 5 s;hostIPs 16 [mHostIP Latomic Smerge Mip;podIP 6 s;podIPs 12 [mPodIP Lmap Kip Smerge Mip;startTime 7 *t;initContainerStatuses 10 [mContainerStatus Latomic;containerStatuses 8 [mContainerStatus Latomic;qosClass 9 s;ephemeralContainerStatuses 13 [mContainerStatus Latomic;resize 14 s;resourceClaimStatuses 15 [mPodResourceClaimStatus Lmap Kname Smerge,retainKeys Mname;extendedResourceClaimStatus 18 *mPodExtendedResourceClaimStatus;allocatedResources 19 {q;resources 20 *mResourceRequirements;nodeAllocatableResourceClaimStatuses 21 [mNodeAllocatableResourceClaimStatus Latomic
PodStatusResult k;metadata 1 m0.ObjectMeta;status 2 mPodStatus
PodTemplate k;metadata 1 m0.ObjectMeta;template 2 mPodTemplateSpec
PodTemplateList k;metadata 1 m0.ListMeta;items 2 [mPodTemplate !
PodTemplateSpec;metadata 1 m0.ObjectMeta;spec 2 mPodSpec
PortStatus;port 1 i !;protocol 2 s !;error 3 *s
PortworxVolumeSource;volumeID 1 s !;fsType 2 s;readOnly 3 b
PreferredSchedulingTerm;weight 1 i !;preference 2 mNodeSelectorTerm !
Probe; 1 mProbeHandler;initialDelaySeconds 2 i;timeoutSeconds 3 i;periodSeconds 4 i;successThreshold 5 i;failureThreshold 6 i;terminationGracePeriodSeconds 7 *l
ProbeHandler;exec 1 *mExecAction;httpGet 2 *mHTTPGetAction;tcpSocket 3 *mTCPSocketAction;grpc 4 *mGRPCAction
ProjectedVolumeSource;sources 1 [mVolumeProjection Latomic;defaultMode 2 *i
QuobyteVolumeSource;registry 1 s !;volume 2 s !;readOnly 3 b;user 4 s;group 5 s;tenant 6 s
RBDPersistentVolumeSource;monitors 1 [s ! Latomic;image 2 s !;fsType 3 s;pool 4 s D"rbd";user 5 s D"admin";keyring 6 s D"/etc/ceph/keyring";secretRef 7 *mSecretReference;readOnly 8 b
RBDVolumeSource;monitors 1 [s ! Latomic;image 2 s !;fsType 3 s;pool 4 s D"rbd";user 5 s D"admin";keyring 6 s D"/etc/ceph/keyring";secretRef 7 *mLocalObjectReference;readOnly 8 b
RangeAllocation k;metadata 1 m0.ObjectMeta;range 2 s !;data 3 y !
ReplicationController k;metadata 1 m0.ObjectMeta;spec 2 mReplicationControllerSpec;status 3 mReplicationControllerStatus
ReplicationControllerCondition;type 1 s !;status 2 s !;lastTransitionTime 3 t;reason 4 s;message 5 s
ReplicationControllerList k;metadata 1 m0.ListMeta;items 2 [mReplicationController !
ReplicationControllerSpec;replicas 1 *i D1;minReadySeconds 4 i D0;selector 2 {s Tatomic;template 3 *mPodTemplateSpec
ReplicationControllerStatus;replicas 1 i !;fullyLabeledReplicas 2 i;readyReplicas 4 i;availableReplicas 5 i;observedGeneration 3 l;conditions 6 [mReplicationControllerCondition Lmap Ktype Smerge Mtype
ResourceClaim;name 1 s !;request 2 s
ResourceFieldSelector a;containerName 1 s;resource 2 s !;divisor 3 q
ResourceHealth;resourceID 1 s !;health 2 s;message 6 *s
ResourceQuota k;metadata 1 m0.ObjectMeta;spec 2 mResourceQuotaSpec;status 3 mResourceQuotaStatus
ResourceQuotaList k;metadata 1 m0.ListMeta;items 2 [mResourceQuota !
ResourceQuotaSpec;hard 1 {q;scopes 2 [s Latomic;scopeSelector 3 *mScopeSelector
ResourceQuotaStatus;hard 1 {q;used 2 {q
ResourceRequirements;limits 1 {q;requests 2 {q;claims 3 [mResourceClaim Lmap Kname
ResourceStatus;name 1 s !;resources 2 [mResourceHealth Lmap KresourceID
SELinuxOptions;user 1 s;role 2 s;type 3 s;level 4 s
ScaleIOPersistentVolumeSource;gateway 1 s !;system 2 s !;secretRef 3 *mSecretReference !;sslEnabled 4 b;protectionDomain 5 s;storagePool 6 s;storageMode 7 s D"ThinProvisioned";volumeName 8 s;fsType 9 s D"xfs";readOnly 10 b
ScaleIOVolumeSource;gateway 1 s !;system 2 s !;secretRef 3 *mLocalObjectReference !;sslEnabled 4 b;protectionDomain 5 s;storagePool 6 s;storageMode 7 s D"ThinProvisioned";volumeName 8 s;fsType 9 s D"xfs";readOnly 10 b
ScopeSelector a;matchExpressions 1 [mScopedResourceSelectorRequirement Latomic
ScopedResourceSelectorRequirement;scopeName 1 s !;operator 2 s !;values 3 [s Latomic
SeccompProfile;type 1 s !;localhostProfile 2 *s
Secret k;metadata 1 m0.ObjectMeta;immutable 5 *b;data 2 {y;stringData 4 {s;type 3 s
SecretEnvSource; 1 mLocalObjectReference;optional 2 *b
SecretKeySelector a; 1 mLocalObjectReference;key 2 s !;optional 3 *b
SecretList k;metadata 1 m0.ListMeta;items 2 [mSecret !
SecretProjection; 1 mLocalObjectReference;items 2 [mKeyToPath Latomic;optional 4 *b
SecretReference a;name 1 s;namespace 2 s
SecretVolumeSource;secretName 1 s;items 2 [mKeyToPath Latomic;defaultMode 3 *i;optional 4 *b
SecurityContext;capabilities 1 *mCapabilities;privileged 2 *b;seLinuxOptions 3 *mSELinuxOptions;windowsOptions 10 *mWindowsSecurityContextOptions;runAsUser 4 *l;runAsGroup 8 *l;runAsNonRoot 5 *b;readOnlyRootFilesystem 6 *b;allowPrivilegeEscalation 7 *b;procMount 9 *s;seccompProfile 11 *mSeccompProfile;appArmorProfile 12 *mAppArmorProfile
SerializedReference k;reference 1 mObjectReference
Service k;metadata 1 m0.ObjectMeta;spec 2 mServiceSpec;status 3 mServiceStatus
ServiceAccount k;metadata 1 m0.ObjectMeta;secrets 2 [mObjectReference Lmap Kname Smerge Mname;imagePullSecrets 3 [mLocalObjectReference Latomic;automountServiceAccountToken 4 *b
ServiceAccountList k;metadata 1 m0.ListMeta;items 2 [mServiceAccount !
ServiceAccountTokenProjection;audience 1 s;expirationSeconds 2 *l;path 3 s !
ServiceList k;metadata 1 m0.ListMeta;items 2 [mService !
ServicePort;name 1 s;protocol 2 s D"TCP";appProtocol 6 *s;port 3 i !;targetPort 4 x;nodePort 5 i
ServiceProxyOptions k;path 1 s
ServiceSpec;ports 1 [mServicePort Lmap Kport,protocol Smerge Mport;selector 2 {s Tatomic;clusterIP 3 s;clusterIPs 18 [s Latomic;type 4 s;externalIPs 5 [s Latomic;sessionAffinity 7 s;loadBalancerIP 8 s;loadBalancerSourceRanges 9 [s Latomic;externalName 10 s;externalTrafficPolicy 11 s;healthCheckNodePort 12 i;publishNotReadyAddresses 13 b;sessionAffinityConfig 14 *mSessionAffinityConfig;ipFamilies 19 [s Latomic;ipFamilyPolicy 17 *s;allocateLoadBalancerNodePorts 20 *b;loadBalancerClass 21 *s;internalTrafficPolicy 22 *s;trafficDistribution 23 *s
ServiceStatus;loadBalancer 1 mLoadBalancerStatus;conditions 2 [m0.Condition Lmap Ktype Smerge Mtype
SessionAffinityConfig;clientIP 1 *mClientIPConfig
SleepAction;seconds 1 l !
StorageOSPersistentVolumeSource;volumeName 1 s;volumeNamespace 2 s;fsType 3 s;readOnly 4 b;secretRef 5 *mObjectReference
StorageOSVolumeSource;volumeName 1 s;volumeNamespace 2 s;fsType 3 s;readOnly 4 b;secretRef 5 *mLocalObjectReference
Sysctl;name 1 s !;value 2 s !
TCPSocketAction;port 1 x !;host 2 s
Taint;key 1 s !;value 2 s;effect 3 s !;timeAdded 4 *t
Toleration;key 1 s;operator 2 s;value 3 s;effect 4 s;tolerationSeconds 5 *l
TopologySelectorLabelRequirement;key 1 s !;values 2 [s ! Latomic
TopologySelectorTerm a;matchLabelExpressions 1 [mTopologySelectorLabelRequirement Latomic
TopologySpreadConstraint;maxSkew 1 i !;topologyKey 2 s !;whenUnsatisfiable 3 s !;labelSelector 4 *m0.LabelSelector;minDomains 5 *i;nodeAffinityPolicy 6 *s;nodeTaintsPolicy 7 *s;matchLabelKeys 8 [s Latomic
TypedLocalObjectReference a;apiGroup 1 *s;kind 2 s !;name 3 s !
TypedObjectReference;apiGroup 1 *s;kind 2 s !;name 3 s !;namespace 4 *s
Volume;name 1 s !; 2 mVolumeSource
VolumeDevice;name 1 s !;devicePath 2 s !
VolumeMount;name 1 s !;readOnly 2 b;recursiveReadOnly 7 *s;mountPath 3 s !;subPath 4 s;mountPropagation 5 *s;subPathExpr 6 s
VolumeMountStatus;name 1 s !;mountPath 2 s !;readOnly 3 b;recursiveReadOnly 4 *s;volumeStatus 5 *mVolumeStatus
VolumeNodeAffinity;required 1 *mNodeSelector
VolumeProjection;secret 1 *mSecretProjection;downwardAPI 2 *mDownwardAPIProjection;configMap 3 *mConfigMapProjection;serviceAccountToken 4 *mServiceAccountTokenProjection;clusterTrustBundle 5 *mClusterTrustBundleProjection;podCertificate 6 *mPodCertificateProjection
VolumeResourceRequirements;limits 1 {q;requests 2 {q
VolumeSource;hostPath 1 *mHostPathVolumeSource;emptyDir 2 *mEmptyDirVolumeSource;gcePersistentDisk 3 *mGCEPersistentDiskVolumeSource;awsElasticBlockStore 4 *mAWSElasticBlockStoreVolumeSource;gitRepo 5 *mGitRepoVolumeSource;secret 6 *mSecretVolumeSource;nfs 7 *mNFSVolumeSource;iscsi 8 *mISCSIVolumeSource;glusterfs 9 *mGlusterfsVolumeSource;persistentVolumeClaim 10 *mPersistentVolumeClaimVolumeSource;rbd 11 *mRBDVolumeSource;flexVolume 12 *mFlexVolumeSource;cinder 13 *mCinderVolumeSource;cephfs 14 *mCephFSVolumeSource;flocker 15 *mFlockerVolumeSource;downwardAPI 16 *mDownwardAPIVolumeSource;fc 17 *mFCVolumeSource;azureFile 18 *mAzureFileVolumeSource;configMap 19 *mConfigMapVolumeSource;vsphereVolume 20 *mVsphereVirtualDiskVolumeSource;quobyte 21 *mQuobyteVolumeSource;azureDisk 22 *mAzureDiskVolumeSource;photonPersistentDisk 23 *mPhotonPersistentDiskVolumeSource;projected 26 *mProjectedVolumeSource;portworxVolume 24 *mPortworxVolumeSource;scaleIO 25 *mScaleIOVolumeSource;storageos 27 *mStorageOSVolumeSource;csi 28 *mCSIVolumeSource;ephemeral 29 *mEphemeralVolumeSource;image 30 *mImageVolumeSource
VolumeStatus;image 1 *mImageVolumeStatus
VsphereVirtualDiskVolumeSource;volumePath 1 s !;fsType 2 s;storagePolicyName 3 s;storagePolicyID 4 s
WeightedPodAffinityTerm;weight 1 i !;podAffinityTerm 2 mPodAffinityTerm !
WindowsSecurityContextOptions;gmsaCredentialSpecName 1 *s;gmsaCredentialSpec 2 *s;runAsUserName 3 *s;hostProcess 4 *b
#io.k8s.api.apps.v1 apps v1
ControllerRevision k;metadata 1 m0.ObjectMeta;data 2 r;revision 3 l !
ControllerRevisionList k;metadata 1 m0.ListMeta;items 2 [mControllerRevision !
DaemonSet k;metadata 1 m0.ObjectMeta;spec 2 mDaemonSetSpec;status 3 mDaemonSetStatus
DaemonSetCondition;type 1 s !;status 2 s !;lastTransitionTime 3 t;reason 4 s;message 5 s
DaemonSetList k;metadata 1 m0.ListMeta;items 2 [mDaemonSet !
DaemonSetSpec;selector 1 *m0.LabelSelector !;template 2 m1.PodTemplateSpec !;updateStrategy 3 mDaemonSetUpdateStrategy;minReadySeconds 4 i;revisionHistoryLimit 6 *i
DaemonSetStatus;currentNumberScheduled 1 i !;numberMisscheduled 2 i !;desiredNumberScheduled 3 i !;numberReady 4 i !;observedGeneration 5 l;updatedNumberScheduled 6 i;numberAvailable 7 i;numberUnavailable 8 i;collisionCount 9 *i;conditions 10 [mDaemonSetCondition Lmap Ktype Smerge Mtype
DaemonSetUpdateStrategy;type 1 s;rollingUpdate 2 *mRollingUpdateDaemonSet
Deployment k;metadata 1 m0.ObjectMeta;spec 2 mDeploymentSpec;status 3 mDeploymentStatus
DeploymentCondition;type 1 s !;status 2 s !;lastUpdateTime 6 t;lastTransitionTime 7 t;reason 4 s;message 5 s
DeploymentList k;metadata 1 m0.ListMeta;items 2 [mDeployment !
DeploymentSpec;replicas 1 *i;selector 2 *m0.LabelSelector !;template 3 m1.PodTemplateSpec !;strategy 4 mDeploymentStrategy SretainKeys;minReadySeconds 5 i;revisionHistoryLimit 6 *i;paused 7 b;progressDeadlineSeconds 9 *i
DeploymentStatus;observedGeneration 1 l;replicas 2 i;updatedReplicas 3 i;readyReplicas 7 i;availableReplicas 4 i;unavailableReplicas 5 i;terminatingReplicas 9 *i;conditions 6 [mDeploymentCondition Lmap Ktype Smerge Mtype;collisionCount 8 *i
DeploymentStrategy;type 1 s;rollingUpdate 2 *mRollingUpdateDeployment
ReplicaSet k;metadata 1 m0.ObjectMeta;spec 2 mReplicaSetSpec;status 3 mReplicaSetStatus
ReplicaSetCondition;type 1 s !;status 2 s !;lastTransitionTime 3 t;reason 4 s;message 5 s
ReplicaSetList k;metadata 1 m0.ListMeta;items 2 [mReplicaSet !
ReplicaSetSpec;replicas 1 *i;minReadySeconds 4 i;selector 2 *m0.LabelSelector !;template 3 m1.PodTemplateSpec
ReplicaSetStatus;replicas 1 i !;fullyLabeledReplicas 2 i;readyReplicas 4 i;availableReplicas 5 i;terminatingReplicas 7 *i;observedGeneration 3 l;conditions 6 [mReplicaSetCondition Lmap Ktype Smerge Mtype
RollingUpdateDaemonSet;maxUnavailable 1 *x;maxSurge 2 *x
RollingUpdateDeployment;maxUnavailable 1 *x;maxSurge 2 *x
RollingUpdateStatefulSetStrategy;partition 1 *i;maxUnavailable 2 *x
StatefulSet k;metadata 1 m0.ObjectMeta;spec 2 mStatefulSetSpec;status 3 mStatefulSetStatus
StatefulSetCondition;type 1 s !;status 2 s !;lastTransitionTime 3 t;reason 4 s;message 5 s
StatefulSetList k;metadata 1 m0.ListMeta;items 2 [mStatefulSet !
StatefulSetOrdinals;start 1 i Z
StatefulSetPersistentVolumeClaimRetentionPolicy;whenDeleted 1 s;whenScaled 2 s
StatefulSetSpec;replicas 1 *i;selector 2 *m0.LabelSelector !;template 3 m1.PodTemplateSpec !;volumeClaimTemplates 4 [m1.PersistentVolumeClaim Latomic;serviceName 5 s Z;podManagementPolicy 6 s;updateStrategy 7 mStatefulSetUpdateStrategy;revisionHistoryLimit 8 *i;minReadySeconds 9 i;persistentVolumeClaimRetentionPolicy 10 *mStatefulSetPersistentVolumeClaimRetentionPolicy;ordinals 11 *mStatefulSetOrdinals
StatefulSetStatus;observedGeneration 1 l;replicas 2 i !;readyReplicas 3 i;currentReplicas 4 i;updatedReplicas 5 i;currentRevision 6 s;updateRevision 7 s;collisionCount 9 *i;conditions 10 [mStatefulSetCondition Lmap Ktype Smerge Mtype;availableReplicas 11 i Z
StatefulSetUpdateStrategy;type 1 s;rollingUpdate 2 *mRollingUpdateStatefulSetStrategy
#io.k8s.api.batch.v1 batch v1
CronJob k;metadata 1 m0.ObjectMeta;spec 2 mCronJobSpec !;status 3 mCronJobStatus
CronJobList k;metadata 1 m0.ListMeta;items 2 [mCronJob !
CronJobSpec;schedule 1 s !;timeZone 8 *s;startingDeadlineSeconds 2 *l;concurrencyPolicy 3 s;suspend 4 *b;jobTemplate 5 mJobTemplateSpec !;successfulJobsHistoryLimit 6 *i;failedJobsHistoryLimit 7 *i
CronJobStatus;active 1 [m1.ObjectReference Latomic;lastScheduleTime 4 *t;lastSuccessfulTime 5 *t
Job k;metadata 1 m0.ObjectMeta;spec 2 mJobSpec;status 3 mJobStatus
JobCondition;type 1 s !;status 2 s !;lastProbeTime 3 t;lastTransitionTime 4 t;reason 5 s;message 6 s
JobList k;metadata 1 m0.ListMeta;items 2 [mJob !
JobSpec;parallelism 1 *i;completions 2 *i;activeDeadlineSeconds 3 *l;podFailurePolicy 11 *mPodFailurePolicy;successPolicy 16 *mSuccessPolicy;backoffLimit 7 *i;backoffLimitPerIndex 12 *i;maxFailedIndexes 13 *i;selector 4 *m0.LabelSelector;manualSelector 5 *b;template 6 m1.PodTemplateSpec !;ttlSecondsAfterFinished 8 *i;completionMode 9 *s;suspend 10 *b;podReplacementPolicy 14 *s;managedBy 15 *s
JobStatus;conditions 1 [mJobCondition Latomic Smerge Mtype;startTime 2 *t;completionTime 3 *t;active 4 i;succeeded 5 i;failed 6 i;terminating 11 *i;completedIndexes 7 s;failedIndexes 10 *s;uncountedTerminatedPods 8 *mUncountedTerminatedPods;ready 9 *i
JobTemplateSpec;metadata 1 m0.ObjectMeta;spec 2 mJobSpec
PodFailurePolicy;rules 1 [mPodFailurePolicyRule ! Latomic
PodFailurePolicyOnExitCodesRequirement;containerName 1 *s;operator 2 s !;values 3 [i ! Lset
PodFailurePolicyOnPodConditionsPattern;type 1 s !;status 2 s Z
PodFailurePolicyRule;action 1 s !;onExitCodes 2 *mPodFailurePolicyOnExitCodesRequirement;onPodConditions 3 [mPodFailurePolicyOnPodConditionsPattern Latomic
SuccessPolicy;rules 1 [mSuccessPolicyRule ! Latomic
SuccessPolicyRule;succeededIndexes 1 *s;succeededCount 2 *i
UncountedTerminatedPods;succeeded 1 [s Lset;failed 2 [s Lset
#io.k8s.api.autoscaling.v2 autoscaling v2
ContainerResourceMetricSource;name 1 s !;target 2 mMetricTarget !;container 3 s !
ContainerResourceMetricStatus;name 1 s !;current 2 mMetricValueStatus !;container 3 s !
CrossVersionObjectReference;kind 1 s !;name 2 s !;apiVersion 3 s
ExternalMetricSource;metric 1 mMetricIdentifier !;target 2 mMetricTarget !
ExternalMetricStatus;metric 1 mMetricIdentifier !;current 2 mMetricValueStatus !
HPAScalingPolicy;type 1 s !;value 2 i !;periodSeconds 3 i !
HPAScalingRules;stabilizationWindowSeconds 3 *i;selectPolicy 1 *s;policies 2 [mHPAScalingPolicy Latomic;tolerance 4 *q
HorizontalPodAutoscaler k;metadata 1 m0.ObjectMeta;spec 2 mHorizontalPodAutoscalerSpec !;status 3 mHorizontalPodAutoscalerStatus
HorizontalPodAutoscalerBehavior;scaleUp 1 *mHPAScalingRules;scaleDown 2 *mHPAScalingRules
HorizontalPodAutoscalerCondition;type 1 s !;status 2 s !;lastTransitionTime 3 t;reason 4 s;message 5 s
HorizontalPodAutoscalerList k;metadata 1 m0.ListMeta;items 2 [mHorizontalPodAutoscaler !
HorizontalPodAutoscalerSpec;scaleTargetRef 1 mCrossVersionObjectReference !;minReplicas 2 *i;maxReplicas 3 i !;metrics 4 [mMetricSpec Latomic;behavior 5 *mHorizontalPodAutoscalerBehavior
HorizontalPodAutoscalerStatus;observedGeneration 1 *l;lastScaleTime 2 *t;currentReplicas 3 i;desiredReplicas 4 i !;currentMetrics 5 [mMetricStatus Latomic;conditions 6 [mHorizontalPodAutoscalerCondition Lmap Ktype Smerge Mtype
MetricIdentifier;name 1 s !;selector 2 *m0.LabelSelector
MetricSpec;type 1 s !;object 2 *mObjectMetricSource;pods 3 *mPodsMetricSource;resource 4 *mResourceMetricSource;containerResource 7 *mContainerResourceMetricSource;external 5 *mExternalMetricSource
MetricStatus;type 1 s !;object 2 *mObjectMetricStatus;pods 3 *mPodsMetricStatus;resource 4 *mResourceMetricStatus;containerResource 7 *mContainerResourceMetricStatus;external 5 *mExternalMetricStatus
MetricTarget;type 1 s !;value 2 *q;averageValue 3 *q;averageUtilization 4 *i
MetricValueStatus;value 1 *q;averageValue 2 *q;averageUtilization 3 *i
ObjectMetricSource;describedObject 1 mCrossVersionObjectReference !;target 2 mMetricTarget !;metric 3 mMetricIdentifier !
ObjectMetricStatus;metric 1 mMetricIdentifier !;current 2 mMetricValueStatus !;describedObject 3 mCrossVersionObjectReference !
PodsMetricSource;metric 1 mMetricIdentifier !;target 2 mMetricTarget !
PodsMetricStatus;metric 1 mMetricIdentifier !;current 2 mMetricValueStatus !
ResourceMetricSource;name 1 s !;target 2 mMetricTarget !
ResourceMetricStatus;name 1 s !;current 2 mMetricValueStatus !
#io.k8s.api.policy.v1 policy v1
Eviction k;metadata 1 m0.ObjectMeta;deleteOptions 2 *m0.DeleteOptions
PodDisruptionBudget k;metadata 1 m0.ObjectMeta;spec 2 mPodDisruptionBudgetSpec;status 3 mPodDisruptionBudgetStatus
PodDisruptionBudgetList k;metadata 1 m0.ListMeta;items 2 [mPodDisruptionBudget !
PodDisruptionBudgetSpec;minAvailable 1 *x;selector 2 *m0.LabelSelector Sreplace;maxUnavailable 3 *x;unhealthyPodEvictionPolicy 4 *s
PodDisruptionBudgetStatus;observedGeneration 1 l;disruptedPods 2 {t;disruptionsAllowed 3 i Z;currentHealthy 4 i Z;desiredHealthy 5 i Z;expectedPods 6 i Z;conditions 7 [m0.Condition Lmap Ktype Smerge Mtype
#io.k8s.api.networking.v1 networking.k8s.io v1
HTTPIngressPath;path 1 s;pathType 3 *s !;backend 2 mIngressBackend !
HTTPIngressRuleValue;paths 1 [mHTTPIngressPath ! Latomic
IPAddress k;metadata 1 m0.ObjectMeta;spec 2 mIPAddressSpec !
IPAddressList k;metadata 1 m0.ListMeta;items 2 [mIPAddress !
IPAddressSpec;parentRef 1 *mParentReference !
IPBlock;cidr 1 s !;except 2 [s Latomic
Ingress k;metadata 1 m0.ObjectMeta;spec 2 mIngressSpec;status 3 mIngressStatus
IngressBackend;service 4 *mIngressServiceBackend;resource 3 *m1.TypedLocalObjectReference
IngressClass k;metadata 1 m0.ObjectMeta;spec 2 mIngressClassSpec
IngressClassList k;metadata 1 m0.ListMeta;items 2 [mIngressClass !
IngressClassParametersReference;apiGroup 1 *s;kind 2 s !;name 3 s !;scope 4 *s;namespace 5 *s
IngressClassSpec;controller 1 s;parameters 2 *mIngressClassParametersReference
IngressList k;metadata 1 m0.ListMeta;items 2 [mIngress !
IngressLoadBalancerIngress;ip 1 s;hostname 2 s;ports 4 [mIngressPortStatus Latomic
IngressLoadBalancerStatus;ingress 1 [mIngressLoadBalancerIngress Latomic
IngressPortStatus;port 1 i !;protocol 2 s !;error 3 *s
IngressRule;host 1 s; 2 mIngressRuleValue
IngressRuleValue;http 1 *mHTTPIngressRuleValue
IngressServiceBackend;name 1 s !;port 2 mServiceBackendPort
IngressSpec;ingressClassName 4 *s;defaultBackend 1 *mIngressBackend;tls 2 [mIngressTLS Latomic;rules 3 [mIngressRule Latomic
IngressStatus;loadBalancer 1 mIngressLoadBalancerStatus
IngressTLS;hosts 1 [s Latomic;secretName 2 s
NetworkPolicy k;metadata 1 m0.ObjectMeta;spec 2 mNetworkPolicySpec
NetworkPolicyEgressRule;ports 1 [mNetworkPolicyPort Latomic;to 2 [mNetworkPolicyPeer Latomic
NetworkPolicyIngressRule;ports 1 [mNetworkPolicyPort Latomic;from 2 [mNetworkPolicyPeer Latomic
NetworkPolicyList k;metadata 1 m0.ListMeta;items 2 [mNetworkPolicy !
NetworkPolicyPeer;podSelector 1 *m0.LabelSelector;namespaceSelector 2 *m0.LabelSelector;ipBlock 3 *mIPBlock
NetworkPolicyPort;protocol 1 *s;port 2 *x;endPort 3 *i
NetworkPolicySpec;podSelector 1 m0.LabelSelector;ingress 2 [mNetworkPolicyIngressRule Latomic;egress 3 [mNetworkPolicyEgressRule Latomic;policyTypes 4 [s Latomic
ParentReference;group 1 s;resource 2 s !;namespace 3 s;name 4 s !
ServiceBackendPort a;name 1 s;number 2 i
ServiceCIDR k;metadata 1 m0.ObjectMeta;spec 2 mServiceCIDRSpec;status 3 mServiceCIDRStatus
ServiceCIDRList k;metadata 1 m0.ListMeta;items 2 [mServiceCIDR !
ServiceCIDRSpec;cidrs 1 [s Latomic
ServiceCIDRStatus;conditions 1 [m0.Condition Lmap Ktype Smerge Mtype
#io.k8s.api.coordination.v1 coordination.k8s.io v1
Lease k;metadata 1 m0.ObjectMeta;spec 2 mLeaseSpec
LeaseList k;metadata 1 m0.ListMeta;items 2 [mLease !
LeaseSpec;holderIdentity 1 *s;leaseDurationSeconds 2 *i;acquireTime 3 *u;renewTime 4 *u;leaseTransitions 5 *i;strategy 6 *s;preferredHolder 7 *s
#io.k8s.api.discovery.v1 discovery.k8s.io v1
Endpoint;addresses 1 [s ! Lset;conditions 2 mEndpointConditions;hostname 3 *s;targetRef 4 *m1.ObjectReference;deprecatedTopology 5 {s;nodeName 6 *s;zone 7 *s;hints 8 *mEndpointHints
EndpointConditions;ready 1 *b;serving 2 *b;terminating 3 *b
EndpointHints;forZones 1 [mForZone Latomic;forNodes 2 [mForNode Latomic
EndpointPort a;name 1 *s;protocol 2 *s;port 3 *i;appProtocol 4 *s
EndpointSlice k;metadata 1 m0.ObjectMeta;addressType 4 s !;endpoints 2 [mEndpoint Latomic;ports 3 [mEndpointPort Latomic
EndpointSliceList k;metadata 1 m0.ListMeta;items 2 [mEndpointSlice !
ForNode;name 1 s !
ForZone;name 1 s !
#io.k8s.api.authentication.v1 authentication.k8s.io v1
BoundObjectReference;kind 1 s;apiVersion 2 s;name 3 s;uid 4 s
SelfSubjectReview k;metadata 1 m0.ObjectMeta;status 2 mSelfSubjectReviewStatus
SelfSubjectReviewStatus;userInfo 1 mUserInfo
TokenRequest k;metadata 1 m0.ObjectMeta;spec 2 mTokenRequestSpec;status 3 mTokenRequestStatus
TokenRequestSpec;audiences 1 [s Latomic;expirationSeconds 4 *l;boundObjectRef 3 *mBoundObjectReference
TokenRequestStatus;token 1 s Z;expirationTimestamp 2 t
TokenReview k;metadata 1 m0.ObjectMeta;spec 2 mTokenReviewSpec !;status 3 mTokenReviewStatus
TokenReviewSpec;token 1 s !;audiences 2 [s Latomic
TokenReviewStatus;authenticated 1 b;user 2 mUserInfo;audiences 4 [s Latomic;error 3 s
UserInfo;username 1 s;uid 2 s;groups 3 [s Latomic;extra 4 {eExtraValue
#io.k8s.api.authorization.v1 authorization.k8s.io v1
FieldSelectorAttributes;rawSelector 1 s;requirements 2 [m0.FieldSelectorRequirement Latomic
LabelSelectorAttributes;rawSelector 1 s;requirements 2 [m0.LabelSelectorRequirement Latomic
LocalSubjectAccessReview k;metadata 1 m0.ObjectMeta;spec 2 mSubjectAccessReviewSpec !;status 3 mSubjectAccessReviewStatus
NonResourceAttributes;path 1 s;verb 2 s
NonResourceRule;verbs 1 [s ! Latomic;nonResourceURLs 2 [s Latomic
ResourceAttributes;namespace 1 s;verb 2 s;group 3 s;version 4 s;resource 5 s;subresource 6 s;name 7 s;fieldSelector 8 *mFieldSelectorAttributes;labelSelector 9 *mLabelSelectorAttributes
ResourceRule;verbs 1 [s ! Latomic;apiGroups 2 [s Latomic;resources 3 [s Latomic;resourceNames 4 [s Latomic
SelfSubjectAccessReview k;metadata 1 m0.ObjectMeta;spec 2 mSelfSubjectAccessReviewSpec !;status 3 mSubjectAccessReviewStatus
SelfSubjectAccessReviewSpec;resourceAttributes 1 *mResourceAttributes;nonResourceAttributes 2 *mNonResourceAttributes
SelfSubjectRulesReview k;metadata 1 m0.ObjectMeta;spec 2 mSelfSubjectRulesReviewSpec !;status 3 mSubjectRulesReviewStatus
SelfSubjectRulesReviewSpec;namespace 1 s
SubjectAccessReview k;metadata 1 m0.ObjectMeta;spec 2 mSubjectAccessReviewSpec !;status 3 mSubjectAccessReviewStatus
SubjectAccessReviewSpec;resourceAttributes 1 *mResourceAttributes;nonResourceAttributes 2 *mNonResourceAttributes;user 3 s;groups 4 [s Latomic;extra 5 {eExtraValue;uid 6 s
SubjectAccessReviewStatus;allowed 1 b !;denied 4 b;reason 2 s;evaluationError 3 s
SubjectRulesReviewStatus;resourceRules 1 [mResourceRule ! Latomic;nonResourceRules 2 [mNonResourceRule ! Latomic;incomplete 3 b !;evaluationError 4 s
#io.k8s.api.rbac.v1 rbac.authorization.k8s.io v1
AggregationRule;clusterRoleSelectors 1 [m0.LabelSelector Latomic
ClusterRole k;metadata 1 m0.ObjectMeta;rules 2 [mPolicyRule Latomic;aggregationRule 3 *mAggregationRule
ClusterRoleBinding k;metadata 1 m0.ObjectMeta;subjects 2 [mSubject Latomic;roleRef 3 mRoleRef !
ClusterRoleBindingList k;metadata 1 m0.ListMeta;items 2 [mClusterRoleBinding !
ClusterRoleList k;metadata 1 m0.ListMeta;items 2 [mClusterRole !
PolicyRule;verbs 1 [s ! Latomic;apiGroups 2 [s Latomic;resources 3 [s Latomic;resourceNames 4 [s Latomic;nonResourceURLs 5 [s Latomic
Role k;metadata 1 m0.ObjectMeta;rules 2 [mPolicyRule Latomic
RoleBinding k;metadata 1 m0.ObjectMeta;subjects 2 [mSubject Latomic;roleRef 3 mRoleRef !
RoleBindingList k;metadata 1 m0.ListMeta;items 2 [mRoleBinding !
RoleList k;metadata 1 m0.ListMeta;items 2 [mRole !
RoleRef a;apiGroup 1 s Z;kind 2 s !;name 3 s !
Subject a;kind 1 s !;apiGroup 2 s;name 3 s !;namespace 4 s
#io.k8s.api.storage.v1 storage.k8s.io v1
CSIDriver k;metadata 1 m0.ObjectMeta;spec 2 mCSIDriverSpec !
CSIDriverList k;metadata 1 m0.ListMeta;items 2 [mCSIDriver !
CSIDriverSpec;attachRequired 1 *b;podInfoOnMount 2 *b;volumeLifecycleModes 3 [s Lset;storageCapacity 4 *b;fsGroupPolicy 5 *s;tokenRequests 6 [mTokenRequest Latomic;requiresRepublish 7 *b;seLinuxMount 8 *b;nodeAllocatableUpdatePeriodSeconds 9 *l;serviceAccountTokenInSecrets 10 *b;preventPodSchedulingIfMissing 11 *b
CSINode k;metadata 1 m0.ObjectMeta;spec 2 mCSINodeSpec !
CSINodeDriver;name 1 s !;nodeID 2 s !;topologyKeys 3 [s Latomic;allocatable 4 *mVolumeNodeResources
CSINodeList k;metadata 1 m0.ListMeta;items 2 [mCSINode !
CSINodeSpec;drivers 1 [mCSINodeDriver ! Lmap Kname Smerge Mname
CSIStorageCapacity k;metadata 1 m0.ObjectMeta;nodeTopology 2 *m0.LabelSelector;storageClassName 3 s !;capacity 4 *q;maximumVolumeSize 5 *q
CSIStorageCapacityList k;metadata 1 m0.ListMeta;items 2 [mCSIStorageCapacity !
StorageClass k;metadata 1 m0.ObjectMeta;provisioner 2 s !;parameters 3 {s;reclaimPolicy 4 *s;mountOptions 5 [s Latomic;allowVolumeExpansion 6 *b;volumeBindingMode 7 *s;allowedTopologies 8 [m1.TopologySelectorTerm Latomic
StorageClassList k;metadata 1 m0.ListMeta;items 2 [mStorageClass !
TokenRequest;audience 1 s !;expirationSeconds 2 *l
VolumeAttachment k;metadata 1 m0.ObjectMeta;spec 2 mVolumeAttachmentSpec !;status 3 mVolumeAttachmentStatus
VolumeAttachmentList k;metadata 1 m0.ListMeta;items 2 [mVolumeAttachment !
VolumeAttachmentSource;persistentVolumeName 1 *s;inlineVolumeSpec 2 *m1.PersistentVolumeSpec
VolumeAttachmentSpec;attacher 1 s !;source 2 mVolumeAttachmentSource !;nodeName 3 s !
VolumeAttachmentStatus;attached 1 b !;attachmentMetadata 2 {s;attachError 3 *mVolumeError;detachError 4 *mVolumeError
VolumeAttributesClass k;metadata 1 m0.ObjectMeta;driverName 2 s !;parameters 3 {s
VolumeAttributesClassList k;metadata 1 m0.ListMeta;items 2 [mVolumeAttributesClass !
VolumeError;time 1 t;message 2 s;errorCode 3 *i
VolumeNodeResources;count 1 *i
#io.k8s.api.scheduling.v1 scheduling.k8s.io v1
PriorityClass k;metadata 1 m0.ObjectMeta;value 2 i Z;globalDefault 3 b;description 4 s;preemptionPolicy 5 *s
PriorityClassList k;metadata 1 m0.ListMeta;items 2 [mPriorityClass !
#io.k8s.api.node.v1 node.k8s.io v1
Overhead;podFixed 1 {q
RuntimeClass k;metadata 1 m0.ObjectMeta;handler 2 s !;overhead 3 *mOverhead;scheduling 4 *mScheduling
RuntimeClassList k;metadata 1 m0.ListMeta;items 2 [mRuntimeClass !
Scheduling;nodeSelector 1 {s Tatomic;tolerations 2 [m1.Toleration Latomic
#io.k8s.api.events.v1 events.k8s.io v1
Event k;metadata 1 m0.ObjectMeta;eventTime 2 u !;series 3 *mEventSeries;reportingController 4 s;reportingInstance 5 s;action 6 s;reason 7 s;regarding 8 m1.ObjectReference;related 9 *m1.ObjectReference;note 10 s;type 11 s;deprecatedSource 12 m1.EventSource;deprecatedFirstTimestamp 13 t;deprecatedLastTimestamp 14 t;deprecatedCount 15 i
EventList k;metadata 1 m0.ListMeta;items 2 [mEvent !
EventSeries;count 1 i !;lastObservedTime 2 u !
#io.k8s.api.autoscaling.v1 autoscaling v1
CrossVersionObjectReference a;kind 1 s !;name 2 s !;apiVersion 3 s
HorizontalPodAutoscaler k;metadata 1 m0.ObjectMeta;spec 2 mHorizontalPodAutoscalerSpec !;status 3 mHorizontalPodAutoscalerStatus
HorizontalPodAutoscalerList k;metadata 1 m0.ListMeta;items 2 [mHorizontalPodAutoscaler !
HorizontalPodAutoscalerSpec;scaleTargetRef 1 mCrossVersionObjectReference !;minReplicas 2 *i;maxReplicas 3 i !;targetCPUUtilizationPercentage 4 *i
HorizontalPodAutoscalerStatus;observedGeneration 1 *l;lastScaleTime 2 *t;currentReplicas 3 i !;desiredReplicas 4 i !;currentCPUUtilizationPercentage 5 *i
Scale k;metadata 1 m0.ObjectMeta;spec 2 mScaleSpec;status 3 mScaleStatus
ScaleSpec;replicas 1 i D0
ScaleStatus;replicas 1 i !;selector 2 s
#io.k8s.api.certificates.v1 certificates.k8s.io v1
CertificateSigningRequest k;metadata 1 m0.ObjectMeta;spec 2 mCertificateSigningRequestSpec !;status 3 mCertificateSigningRequestStatus
CertificateSigningRequestCondition;type 1 s !;status 6 s !;reason 2 s;message 3 s;lastUpdateTime 4 t;lastTransitionTime 5 t
CertificateSigningRequestList k;metadata 1 m0.ListMeta;items 2 [mCertificateSigningRequest !
CertificateSigningRequestSpec;request 1 y !;signerName 7 s !;expirationSeconds 8 *i;usages 5 [s Latomic;username 2 s;uid 3 s;groups 4 [s Latomic;extra 6 {eExtraValue
CertificateSigningRequestStatus;conditions 1 [mCertificateSigningRequestCondition Lmap Ktype;certificate 2 y
#io.k8s.metrics.pkg.apis.metrics.v1beta1 metrics.k8s.io v1beta1
ContainerMetrics;name 1 s !;usage 2 {q !
NodeMetrics k;metadata 1 m0.ObjectMeta;timestamp 2 t !;window 3 n !;usage 4 {q !
NodeMetricsList k;metadata 1 m0.ListMeta;items 2 [mNodeMetrics !
PodMetrics k;metadata 1 m0.ObjectMeta;timestamp 2 t !;window 3 n !;containers 4 [mContainerMetrics ! Latomic
PodMetricsList k;metadata 1 m0.ListMeta;items 2 [mPodMetrics !`;
