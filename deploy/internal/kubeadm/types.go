// Package kubeadm has the configuration kinds of kubeadm.k8s.io/v1beta4: their
// types, defaults, strict decoding and validation. Nothing here does I/O but
// LoadFile.
package kubeadm

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group and Version of the configuration kinds.
const (
	Group      = "kubeadm.k8s.io"
	Version    = "v1beta4"
	APIVersion = Group + "/" + Version
)

// Arg is a flag of a component; a name may be given more than once.
type Arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HostPathMount is a directory or file of the host in a component's pod.
type HostPathMount struct {
	Name      string              `json:"name"`
	HostPath  string              `json:"hostPath"`
	MountPath string              `json:"mountPath"`
	ReadOnly  bool                `json:"readOnly,omitempty"`
	PathType  corev1.HostPathType `json:"pathType,omitempty"`
}

// Component is what can be set of each control plane component.
type Component struct {
	ExtraArgs    []Arg           `json:"extraArgs,omitempty"`
	ExtraVolumes []HostPathMount `json:"extraVolumes,omitempty"`
	ExtraEnvs    []corev1.EnvVar `json:"extraEnvs,omitempty"`
}

// APIServer is Component and names for its certificate.
type APIServer struct {
	Component `json:",inline"`
	CertSANs  []string `json:"certSANs,omitempty"`
}

// ImageMeta replaces where an image comes from.
type ImageMeta struct {
	ImageRepository string `json:"imageRepository,omitempty"`
	ImageTag        string `json:"imageTag,omitempty"`
}

// LocalEtcd is etcd as a static pod.
type LocalEtcd struct {
	ImageMeta      `json:",inline"`
	DataDir        string          `json:"dataDir"`
	ExtraArgs      []Arg           `json:"extraArgs,omitempty"`
	ExtraEnvs      []corev1.EnvVar `json:"extraEnvs,omitempty"`
	ServerCertSANs []string        `json:"serverCertSANs,omitempty"`
	PeerCertSANs   []string        `json:"peerCertSANs,omitempty"`
}

// ExternalEtcd is etcd run by somebody else.
type ExternalEtcd struct {
	Endpoints     []string `json:"endpoints"`
	HTTPEndpoints []string `json:"httpEndpoints,omitempty"`
	CAFile        string   `json:"caFile"`
	CertFile      string   `json:"certFile"`
	KeyFile       string   `json:"keyFile"`
}

// Etcd is one of both.
type Etcd struct {
	Local    *LocalEtcd    `json:"local,omitempty"`
	External *ExternalEtcd `json:"external,omitempty"`
}

// Networking of the cluster.
type Networking struct {
	ServiceSubnet string `json:"serviceSubnet,omitempty"`
	PodSubnet     string `json:"podSubnet,omitempty"`
	DNSDomain     string `json:"dnsDomain,omitempty"`
}

// DNS is the cluster DNS addon.
type DNS struct {
	ImageMeta `json:",inline"`
	Disabled  bool `json:"disabled,omitempty"`
}

// Proxy is the kube-proxy addon.
type Proxy struct {
	Disabled bool `json:"disabled,omitempty"`
}

// ClusterConfiguration is what all nodes share; it is kept in the ConfigMap
// kubeadm-config.
type ClusterConfiguration struct {
	metav1.TypeMeta             `json:",inline"`
	Etcd                        Etcd             `json:"etcd,omitempty"`
	Networking                  Networking       `json:"networking,omitempty"`
	KubernetesVersion           string           `json:"kubernetesVersion,omitempty"`
	ControlPlaneEndpoint        string           `json:"controlPlaneEndpoint,omitempty"`
	APIServer                   APIServer        `json:"apiServer,omitempty"`
	ControllerManager           Component        `json:"controllerManager,omitempty"`
	Scheduler                   Component        `json:"scheduler,omitempty"`
	DNS                         DNS              `json:"dns,omitempty"`
	Proxy                       Proxy            `json:"proxy,omitempty"`
	CertificatesDir             string           `json:"certificatesDir,omitempty"`
	ImageRepository             string           `json:"imageRepository,omitempty"`
	FeatureGates                map[string]bool  `json:"featureGates,omitempty"`
	ClusterName                 string           `json:"clusterName,omitempty"`
	EncryptionAlgorithm         string           `json:"encryptionAlgorithm,omitempty"`
	CertificateValidityPeriod   *metav1.Duration `json:"certificateValidityPeriod,omitempty"`
	CACertificateValidityPeriod *metav1.Duration `json:"caCertificateValidityPeriod,omitempty"`
}

// NodeRegistration is how a node joins.
type NodeRegistration struct {
	Name                  string            `json:"name,omitempty"`
	CRISocket             string            `json:"criSocket,omitempty"`
	Taints                []corev1.Taint    `json:"taints"`
	KubeletExtraArgs      []Arg             `json:"kubeletExtraArgs,omitempty"`
	IgnorePreflightErrors []string          `json:"ignorePreflightErrors,omitempty"`
	ImagePullPolicy       corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	ImagePullSerial       *bool             `json:"imagePullSerial,omitempty"`
}

// APIEndpoint of one API server.
type APIEndpoint struct {
	AdvertiseAddress string `json:"advertiseAddress,omitempty"`
	BindPort         int32  `json:"bindPort,omitempty"`
}

// BootstrapToken lets nodes join.
type BootstrapToken struct {
	Token       string           `json:"token"`
	Description string           `json:"description,omitempty"`
	TTL         *metav1.Duration `json:"ttl,omitempty"`
	Expires     *metav1.Time     `json:"expires,omitempty"`
	Usages      []string         `json:"usages,omitempty"`
	Groups      []string         `json:"groups,omitempty"`
}

// Patches is a directory of patches to manifests.
type Patches struct {
	Directory string `json:"directory,omitempty"`
}

// Timeouts of the steps.
type Timeouts struct {
	ControlPlaneComponentHealthCheck *metav1.Duration `json:"controlPlaneComponentHealthCheck,omitempty"`
	KubeletHealthCheck               *metav1.Duration `json:"kubeletHealthCheck,omitempty"`
	KubernetesAPICall                *metav1.Duration `json:"kubernetesAPICall,omitempty"`
	EtcdAPICall                      *metav1.Duration `json:"etcdAPICall,omitempty"`
	TLSBootstrap                     *metav1.Duration `json:"tlsBootstrap,omitempty"`
	Discovery                        *metav1.Duration `json:"discovery,omitempty"`
	UpgradeManifests                 *metav1.Duration `json:"upgradeManifests,omitempty"`
}

// InitConfiguration is of the first node.
type InitConfiguration struct {
	metav1.TypeMeta  `json:",inline"`
	BootstrapTokens  []BootstrapToken `json:"bootstrapTokens,omitempty"`
	DryRun           bool             `json:"dryRun,omitempty"`
	NodeRegistration NodeRegistration `json:"nodeRegistration,omitempty"`
	LocalAPIEndpoint APIEndpoint      `json:"localAPIEndpoint,omitempty"`
	CertificateKey   string           `json:"certificateKey,omitempty"`
	SkipPhases       []string         `json:"skipPhases,omitempty"`
	Patches          *Patches         `json:"patches,omitempty"`
	Timeouts         *Timeouts        `json:"timeouts,omitempty"`
}

// TokenDiscovery finds the cluster by a token and the hash of its authority.
type TokenDiscovery struct {
	Token                    string   `json:"token"`
	APIServerEndpoint        string   `json:"apiServerEndpoint,omitempty"`
	CACertHashes             []string `json:"caCertHashes,omitempty"`
	UnsafeSkipCAVerification bool     `json:"unsafeSkipCAVerification,omitempty"`
}

// FileDiscovery finds the cluster by a kubeconfig.
type FileDiscovery struct {
	KubeConfigPath string `json:"kubeConfigPath"`
}

// Discovery is one of both.
type Discovery struct {
	BootstrapToken    *TokenDiscovery `json:"bootstrapToken,omitempty"`
	File              *FileDiscovery  `json:"file,omitempty"`
	TLSBootstrapToken string          `json:"tlsBootstrapToken,omitempty"`
}

// JoinControlPlane makes the node a member of the control plane.
type JoinControlPlane struct {
	LocalAPIEndpoint APIEndpoint `json:"localAPIEndpoint,omitempty"`
	CertificateKey   string      `json:"certificateKey,omitempty"`
}

// JoinConfiguration is of every other node.
type JoinConfiguration struct {
	metav1.TypeMeta  `json:",inline"`
	DryRun           bool              `json:"dryRun,omitempty"`
	NodeRegistration NodeRegistration  `json:"nodeRegistration,omitempty"`
	CACertPath       string            `json:"caCertPath,omitempty"`
	Discovery        Discovery         `json:"discovery"`
	ControlPlane     *JoinControlPlane `json:"controlPlane,omitempty"`
	SkipPhases       []string          `json:"skipPhases,omitempty"`
	Patches          *Patches          `json:"patches,omitempty"`
	Timeouts         *Timeouts         `json:"timeouts,omitempty"`
}

// ResetConfiguration is of reset.
type ResetConfiguration struct {
	metav1.TypeMeta       `json:",inline"`
	CleanupTmpDir         bool      `json:"cleanupTmpDir,omitempty"`
	CertificatesDir       string    `json:"certificatesDir,omitempty"`
	CRISocket             string    `json:"criSocket,omitempty"`
	DryRun                bool      `json:"dryRun,omitempty"`
	Force                 bool      `json:"force,omitempty"`
	IgnorePreflightErrors []string  `json:"ignorePreflightErrors,omitempty"`
	SkipPhases            []string  `json:"skipPhases,omitempty"`
	UnmountFlags          []string  `json:"unmountFlags,omitempty"`
	Timeouts              *Timeouts `json:"timeouts,omitempty"`
}

// UpgradeOptions are what upgrade apply and upgrade node share.
type UpgradeOptions struct {
	CertificateRenewal    *bool             `json:"certificateRenewal,omitempty"`
	DryRun                bool              `json:"dryRun,omitempty"`
	EtcdUpgrade           *bool             `json:"etcdUpgrade,omitempty"`
	IgnorePreflightErrors []string          `json:"ignorePreflightErrors,omitempty"`
	SkipPhases            []string          `json:"skipPhases,omitempty"`
	Patches               *Patches          `json:"patches,omitempty"`
	ImagePullPolicy       corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	ImagePullSerial       *bool             `json:"imagePullSerial,omitempty"`
}

// Unstable says which versions that are no releases an upgrade may go to.
type Unstable struct {
	AllowExperimentalUpgrades *bool `json:"allowExperimentalUpgrades,omitempty"`
	AllowRCUpgrades           *bool `json:"allowRCUpgrades,omitempty"`
}

// UpgradeApply is of upgrade apply.
type UpgradeApply struct {
	UpgradeOptions    `json:",inline"`
	Unstable          `json:",inline"`
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	ForceUpgrade      *bool  `json:"forceUpgrade,omitempty"`
	PrintConfig       *bool  `json:"printConfig,omitempty"`
}

// UpgradeDiff is of upgrade diff.
type UpgradeDiff struct {
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	DiffContextLines  int    `json:"contextLines,omitempty"`
}

// UpgradePlan is of upgrade plan.
type UpgradePlan struct {
	Unstable              `json:",inline"`
	KubernetesVersion     string   `json:"kubernetesVersion,omitempty"`
	DryRun                *bool    `json:"dryRun,omitempty"`
	EtcdUpgrade           *bool    `json:"etcdUpgrade,omitempty"`
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	PrintConfig           *bool    `json:"printConfig,omitempty"`
}

// UpgradeConfiguration is of upgrade.
type UpgradeConfiguration struct {
	metav1.TypeMeta `json:",inline"`
	Apply           UpgradeApply   `json:"apply,omitempty"`
	Diff            UpgradeDiff    `json:"diff,omitempty"`
	Node            UpgradeOptions `json:"node,omitempty"`
	Plan            UpgradePlan    `json:"plan,omitempty"`
	Timeouts        *Timeouts      `json:"timeouts,omitempty"`
}

// Yes is a switch that may be left open.
func Yes(b *bool) bool { return b != nil && *b }
