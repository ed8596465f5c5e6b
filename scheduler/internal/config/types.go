// Package config is the scheduler's configuration file,
// KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1: its fields,
// defaults and rules, and the profiles of plugins that it describes.
package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Group and Version of the file.
const (
	Group   = "kubescheduler.config.k8s.io"
	Version = "v1"
	Kind    = "KubeSchedulerConfiguration"
)

// DefaultScheduler is the name of the only profile by default.
const DefaultScheduler = corev1.DefaultSchedulerName

// Configuration is the file.
type Configuration struct {
	metav1.TypeMeta `json:",inline"`

	Parallelism               *int32           `json:"parallelism,omitempty"`
	LeaderElection            LeaderElection   `json:"leaderElection"`
	ClientConnection          ClientConnection `json:"clientConnection"`
	EnableProfiling           *bool            `json:"enableProfiling,omitempty"`
	EnableContentionProfiling *bool            `json:"enableContentionProfiling,omitempty"`
	PercentageOfNodesToScore  *int32           `json:"percentageOfNodesToScore,omitempty"`
	PodInitialBackoffSeconds  *int64           `json:"podInitialBackoffSeconds,omitempty"`
	PodMaxBackoffSeconds      *int64           `json:"podMaxBackoffSeconds,omitempty"`
	Profiles                  []Profile        `json:"profiles,omitempty"`
	Extenders                 []Extender       `json:"extenders,omitempty"`
	DelayCacheUntilActive     bool             `json:"delayCacheUntilActive,omitempty"`
}

// LeaderElection of the replicas.
type LeaderElection struct {
	LeaderElect       *bool           `json:"leaderElect"`
	LeaseDuration     metav1.Duration `json:"leaseDuration"`
	RenewDeadline     metav1.Duration `json:"renewDeadline"`
	RetryPeriod       metav1.Duration `json:"retryPeriod"`
	ResourceLock      string          `json:"resourceLock"`
	ResourceName      string          `json:"resourceName"`
	ResourceNamespace string          `json:"resourceNamespace"`
}

// ClientConnection to the API server. Rates and content types are accepted
// and without effect: the API server limits its clients.
type ClientConnection struct {
	Kubeconfig         string  `json:"kubeconfig"`
	AcceptContentTypes string  `json:"acceptContentTypes"`
	ContentType        string  `json:"contentType"`
	QPS                float32 `json:"qps"`
	Burst              int32   `json:"burst"`
}

// Profile of the pods of one schedulerName.
type Profile struct {
	SchedulerName            *string        `json:"schedulerName,omitempty"`
	PercentageOfNodesToScore *int32         `json:"percentageOfNodesToScore,omitempty"`
	Plugins                  *Plugins       `json:"plugins,omitempty"`
	PluginConfig             []PluginConfig `json:"pluginConfig,omitempty"`
}

// Plugins by extension point.
type Plugins struct {
	PreEnqueue         PluginSet `json:"preEnqueue,omitempty"`
	QueueSort          PluginSet `json:"queueSort,omitempty"`
	PreFilter          PluginSet `json:"preFilter,omitempty"`
	Filter             PluginSet `json:"filter,omitempty"`
	PostFilter         PluginSet `json:"postFilter,omitempty"`
	PreScore           PluginSet `json:"preScore,omitempty"`
	Score              PluginSet `json:"score,omitempty"`
	Reserve            PluginSet `json:"reserve,omitempty"`
	Permit             PluginSet `json:"permit,omitempty"`
	PreBind            PluginSet `json:"preBind,omitempty"`
	Bind               PluginSet `json:"bind,omitempty"`
	PostBind           PluginSet `json:"postBind,omitempty"`
	MultiPoint         PluginSet `json:"multiPoint,omitempty"`
	PlacementGenerate  PluginSet `json:"placementGenerate,omitempty"`
	PlacementScore     PluginSet `json:"placementScore,omitempty"`
	PodGroupPostFilter PluginSet `json:"podGroupPostFilter,omitempty"`
}

// PluginSet is what is enabled and disabled beside the defaults; the name *
// disables all of them.
type PluginSet struct {
	Enabled  []Plugin `json:"enabled,omitempty"`
	Disabled []Plugin `json:"disabled,omitempty"`
}

// Plugin by name, with a weight where it scores; 0 is its default.
type Plugin struct {
	Name   string `json:"name"`
	Weight *int32 `json:"weight,omitempty"`
}

// PluginConfig is a plugin's arguments.
type PluginConfig struct {
	Name string               `json:"name"`
	Args runtime.RawExtension `json:"args,omitempty"`
	// parsed from Args, or defaults
	parsed any
}

// Extender is a process that takes part in decisions over HTTP.
type Extender struct {
	URLPrefix        string            `json:"urlPrefix"`
	FilterVerb       string            `json:"filterVerb,omitempty"`
	PreemptVerb      string            `json:"preemptVerb,omitempty"`
	PrioritizeVerb   string            `json:"prioritizeVerb,omitempty"`
	Weight           int64             `json:"weight,omitempty"`
	BindVerb         string            `json:"bindVerb,omitempty"`
	EnableHTTPS      bool              `json:"enableHTTPS,omitempty"`
	TLSConfig        *ExtenderTLS      `json:"tlsConfig,omitempty"`
	HTTPTimeout      metav1.Duration   `json:"httpTimeout,omitempty"`
	NodeCacheCapable bool              `json:"nodeCacheCapable,omitempty"`
	ManagedResources []ManagedResource `json:"managedResources,omitempty"`
	Ignorable        bool              `json:"ignorable,omitempty"`
}

// ManagedResource is one that an extender looks after.
type ManagedResource struct {
	Name               string `json:"name"`
	IgnoredByScheduler bool   `json:"ignoredByScheduler,omitempty"`
}

// ExtenderTLS is how to reach an extender.
type ExtenderTLS struct {
	Insecure   bool   `json:"insecure,omitempty"`
	ServerName string `json:"serverName,omitempty"`
	CertFile   string `json:"certFile,omitempty"`
	KeyFile    string `json:"keyFile,omitempty"`
	CAFile     string `json:"caFile,omitempty"`
	CertData   []byte `json:"certData,omitempty"`
	KeyData    []byte `json:"keyData,omitempty"`
	CAData     []byte `json:"caData,omitempty"`
}
