// Package config is what a kubelet is told: KubeletConfiguration of
// kubelet.config.k8s.io/v1beta1 from a file and a directory of drop-ins, and
// flags, which win.
package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group, Kind and Versions of the configuration.
const (
	Group = "kubelet.config.k8s.io"
	Kind  = "KubeletConfiguration"
)

// Versions that are read.
var Versions = []string{"v1beta1"}

// Kubelet is KubeletConfiguration. Pointers tell what was left out.
type Kubelet struct {
	metav1.TypeMeta `json:",inline"`

	EnableServer     *bool               `json:"enableServer,omitempty"`
	StaticPodPath    string              `json:"staticPodPath,omitempty"`
	PodLogsDir       string              `json:"podLogsDir,omitempty"`
	SyncFrequency    metav1.Duration     `json:"syncFrequency,omitempty"`
	FileCheck        metav1.Duration     `json:"fileCheckFrequency,omitempty"`
	HTTPCheck        metav1.Duration     `json:"httpCheckFrequency,omitempty"`
	StaticPodURL     string              `json:"staticPodURL,omitempty"`
	StaticPodHeader  map[string][]string `json:"staticPodURLHeader,omitempty"`
	Address          string              `json:"address,omitempty"`
	Port             int32               `json:"port,omitempty"`
	ReadOnlyPort     int32               `json:"readOnlyPort,omitempty"`
	TLSCertFile      string              `json:"tlsCertFile,omitempty"`
	TLSPrivateKey    string              `json:"tlsPrivateKeyFile,omitempty"`
	TLSCipherSuites  []string            `json:"tlsCipherSuites,omitempty"`
	TLSCurves        []int32             `json:"tlsCurvePreferences,omitempty"`
	TLSMinVersion    string              `json:"tlsMinVersion,omitempty"`
	RotateCerts      bool                `json:"rotateCertificates,omitempty"`
	ServerBootstrap  bool                `json:"serverTLSBootstrap,omitempty"`
	Authentication   Authentication      `json:"authentication"`
	Authorization    Authorization       `json:"authorization"`
	RegistryPullQPS  *int32              `json:"registryPullQPS,omitempty"`
	RegistryBurst    int32               `json:"registryBurst,omitempty"`
	PullVerification string              `json:"imagePullCredentialsVerificationPolicy,omitempty"`
	PreloadedImages  []string            `json:"preloadedImagesVerificationAllowlist,omitempty"`
	EventQPS         *int32              `json:"eventRecordQPS,omitempty"`
	EventBurst       int32               `json:"eventBurst,omitempty"`
	DebugHandlers    *bool               `json:"enableDebuggingHandlers,omitempty"`
	Contention       bool                `json:"enableContentionProfiling,omitempty"`
	HealthzPort      *int32              `json:"healthzPort,omitempty"`
	HealthzAddress   string              `json:"healthzBindAddress,omitempty"`
	OOMScoreAdj      *int32              `json:"oomScoreAdj,omitempty"`
	ClusterDomain    string              `json:"clusterDomain,omitempty"`
	ClusterDNS       []string            `json:"clusterDNS,omitempty"`
	StreamIdle       metav1.Duration     `json:"streamingConnectionIdleTimeout,omitempty"`
	StatusUpdate     metav1.Duration     `json:"nodeStatusUpdateFrequency,omitempty"`
	StatusReport     metav1.Duration     `json:"nodeStatusReportFrequency,omitempty"`
	LeaseSeconds     int32               `json:"nodeLeaseDurationSeconds,omitempty"`
	ImageMinimumAge  metav1.Duration     `json:"imageMinimumGCAge,omitempty"`
	ImageMaximumAge  metav1.Duration     `json:"imageMaximumGCAge,omitempty"`
	ImageGCHigh      *int32              `json:"imageGCHighThresholdPercent,omitempty"`
	ImageGCLow       *int32              `json:"imageGCLowThresholdPercent,omitempty"`
	VolumeStats      metav1.Duration     `json:"volumeStatsAggPeriod,omitempty"`
	KubeletCgroups   string              `json:"kubeletCgroups,omitempty"`
	SystemCgroups    string              `json:"systemCgroups,omitempty"`
	CgroupRoot       string              `json:"cgroupRoot,omitempty"`
	CgroupsPerQOS    *bool               `json:"cgroupsPerQOS,omitempty"`
	CgroupDriver     string              `json:"cgroupDriver,omitempty"`
	CPUManagerPolicy string              `json:"cpuManagerPolicy,omitempty"`
	SingleOOMKill    *bool               `json:"singleProcessOOMKill,omitempty"`
	CPUOptions       map[string]string   `json:"cpuManagerPolicyOptions,omitempty"`
	CPUReconcile     metav1.Duration     `json:"cpuManagerReconcilePeriod,omitempty"`
	MemoryPolicy     string              `json:"memoryManagerPolicy,omitempty"`
	TopologyPolicy   string              `json:"topologyManagerPolicy,omitempty"`
	TopologyScope    string              `json:"topologyManagerScope,omitempty"`
	TopologyOptions  map[string]string   `json:"topologyManagerPolicyOptions,omitempty"`
	QOSReserved      map[string]string   `json:"qosReserved,omitempty"`
	RuntimeTimeout   metav1.Duration     `json:"runtimeRequestTimeout,omitempty"`
	HairpinMode      string              `json:"hairpinMode,omitempty"`
	MaxPods          int32               `json:"maxPods,omitempty"`
	PodCIDR          string              `json:"podCIDR,omitempty"`
	PodPidsLimit     *int64              `json:"podPidsLimit,omitempty"`
	ResolvConf       *string             `json:"resolvConf,omitempty"`
	RunOnce          bool                `json:"runOnce,omitempty"`
	CPUCFSQuota      *bool               `json:"cpuCFSQuota,omitempty"`
	CPUCFSPeriod     *metav1.Duration    `json:"cpuCFSQuotaPeriod,omitempty"`
	StatusMaxImages  *int32              `json:"nodeStatusMaxImages,omitempty"`
	MaxOpenFiles     int64               `json:"maxOpenFiles,omitempty"`
	ContentType      string              `json:"contentType,omitempty"`
	KubeAPIQPS       *int32              `json:"kubeAPIQPS,omitempty"`
	KubeAPIBurst     int32               `json:"kubeAPIBurst,omitempty"`
	SerializePulls   *bool               `json:"serializeImagePulls,omitempty"`
	MaxParallelPulls *int32              `json:"maxParallelImagePulls,omitempty"`

	EvictionHard     map[string]string `json:"evictionHard,omitempty"`
	EvictionSoft     map[string]string `json:"evictionSoft,omitempty"`
	EvictionGrace    map[string]string `json:"evictionSoftGracePeriod,omitempty"`
	EvictionPressure metav1.Duration   `json:"evictionPressureTransitionPeriod,omitempty"`
	EvictionMaxGrace int32             `json:"evictionMaxPodGracePeriod,omitempty"`
	EvictionReclaim  map[string]string `json:"evictionMinimumReclaim,omitempty"`
	EvictionMerge    *bool             `json:"mergeDefaultEvictionSettings,omitempty"`

	PodsPerCore        int32             `json:"podsPerCore,omitempty"`
	AttachDetach       *bool             `json:"enableControllerAttachDetach,omitempty"`
	ProtectDefaults    bool              `json:"protectKernelDefaults,omitempty"`
	MakeIPTables       *bool             `json:"makeIPTablesUtilChains,omitempty"`
	MasqueradeBit      *int32            `json:"iptablesMasqueradeBit,omitempty"`
	DropBit            *int32            `json:"iptablesDropBit,omitempty"`
	FeatureGates       map[string]bool   `json:"featureGates,omitempty"`
	FailSwapOn         *bool             `json:"failSwapOn,omitempty"`
	MemorySwap         MemorySwap        `json:"memorySwap,omitempty"`
	LogMaxSize         string            `json:"containerLogMaxSize,omitempty"`
	LogMaxFiles        *int32            `json:"containerLogMaxFiles,omitempty"`
	LogMaxWorkers      *int32            `json:"containerLogMaxWorkers,omitempty"`
	LogMonitor         *metav1.Duration  `json:"containerLogMonitorInterval,omitempty"`
	ChangeDetection    string            `json:"configMapAndSecretChangeDetectionStrategy,omitempty"`
	SystemReserved     map[string]string `json:"systemReserved,omitempty"`
	KubeReserved       map[string]string `json:"kubeReserved,omitempty"`
	ReservedCPUs       string            `json:"reservedSystemCPUs,omitempty"`
	ShowHiddenMetrics  string            `json:"showHiddenMetricsForVersion,omitempty"`
	SystemReservedCg   string            `json:"systemReservedCgroup,omitempty"`
	KubeReservedCg     string            `json:"kubeReservedCgroup,omitempty"`
	EnforceAllocatable []string          `json:"enforceNodeAllocatable,omitempty"`
	UnsafeSysctls      []string          `json:"allowedUnsafeSysctls,omitempty"`
	DefaultPodSysctls  map[string]string `json:"defaultPodSysctls,omitempty"`
	VolumePluginDir    string            `json:"volumePluginDir,omitempty"`
	ProviderID         string            `json:"providerID,omitempty"`
	MemcgNotification  bool              `json:"kernelMemcgNotification,omitempty"`
	Logging            Logging           `json:"logging,omitempty"`
	SystemLogHandler   *bool             `json:"enableSystemLogHandler,omitempty"`
	SystemLogQuery     *bool             `json:"enableSystemLogQuery,omitempty"`
	ShutdownGrace      metav1.Duration   `json:"shutdownGracePeriod,omitempty"`
	ShutdownCritical   metav1.Duration   `json:"shutdownGracePeriodCriticalPods,omitempty"`
	ShutdownByPriority []ShutdownGrace   `json:"shutdownGracePeriodByPodPriority,omitempty"`
	CrashLoop          CrashLoop         `json:"crashLoopBackOff,omitempty"`
	ReservedMemory     []ReservedMemory  `json:"reservedMemory,omitempty"`
	Profiling          *bool             `json:"enableProfilingHandler,omitempty"`
	DebugFlags         *bool             `json:"enableDebugFlagsHandler,omitempty"`
	SeccompDefault     *bool             `json:"seccompDefault,omitempty"`
	MemoryThrottling   *float64          `json:"memoryThrottlingFactor,omitempty"`
	MemoryReservation  string            `json:"memoryReservationPolicy,omitempty"`
	RegisterTaints     []corev1.Taint    `json:"registerWithTaints,omitempty"`
	RegisterNode       *bool             `json:"registerNode,omitempty"`
	Tracing            *Tracing          `json:"tracing,omitempty"`
	LocalStorage       *bool             `json:"localStorageCapacityIsolation,omitempty"`
	RuntimeEndpoint    string            `json:"containerRuntimeEndpoint"`
	ImageEndpoint      string            `json:"imageServiceEndpoint,omitempty"`
	FailCgroupV1       *bool             `json:"failCgroupV1,omitempty"`
	UserNamespaces     *UserNamespaces   `json:"userNamespaces,omitempty"`
}

// Authentication of requests to the kubelet.
type Authentication struct {
	X509 struct {
		ClientCAFile string `json:"clientCAFile,omitempty"`
	} `json:"x509"`
	Webhook struct {
		Enabled  *bool           `json:"enabled,omitempty"`
		CacheTTL metav1.Duration `json:"cacheTTL,omitempty"`
	} `json:"webhook"`
	Anonymous struct {
		Enabled *bool `json:"enabled,omitempty"`
	} `json:"anonymous"`
}

// Authorization of requests to the kubelet.
type Authorization struct {
	Mode    string `json:"mode,omitempty"`
	Webhook struct {
		AllowTTL metav1.Duration `json:"cacheAuthorizedTTL,omitempty"`
		DenyTTL  metav1.Duration `json:"cacheUnauthorizedTTL,omitempty"`
	} `json:"webhook"`
}

// MemorySwap says whether containers may swap.
type MemorySwap struct {
	Behavior string `json:"swapBehavior,omitempty"`
}

// Logging of the kubelet itself.
type Logging struct {
	Format         string           `json:"format,omitempty"`
	FlushFrequency any              `json:"flushFrequency,omitempty"`
	Verbosity      uint32           `json:"verbosity,omitempty"`
	VModule        []map[string]any `json:"vmodule,omitempty"`
	Options        map[string]any   `json:"options,omitempty"`
}

// ShutdownGrace is a class of pods' time to end when the node goes down.
type ShutdownGrace struct {
	Priority int32 `json:"priority"`
	Seconds  int64 `json:"shutdownGracePeriodSeconds"`
}

// CrashLoop bounds the pauses between restarts.
type CrashLoop struct {
	Max *metav1.Duration `json:"maxContainerRestartPeriod,omitempty"`
}

// ReservedMemory of a NUMA node.
type ReservedMemory struct {
	NumaNode int32               `json:"numaNode"`
	Limits   corev1.ResourceList `json:"limits"`
}

// Tracing to a collector.
type Tracing struct {
	Endpoint *string `json:"endpoint,omitempty"`
	Rate     *int32  `json:"samplingRatePerMillion,omitempty"`
}

// UserNamespaces of pods.
type UserNamespaces struct {
	IDsPerPod *int64 `json:"idsPerPod,omitempty"`
}
