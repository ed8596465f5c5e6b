// Package config is kube-proxy's configuration: a KubeProxyConfiguration from
// a file or from flags, with defaults and checked.
package config

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group, version and kind of the file.
const (
	Group   = "kubeproxy.config.k8s.io"
	Version = "v1alpha1"
	Kind    = "KubeProxyConfiguration"
)

// Modes by their names; others are read and refused.
const (
	ModeNFTables = "nftables"
	ModeIPTables = "iptables"
	ModeIPVS     = "ipvs"
)

// Ways to tell pods from others.
const (
	ClusterCIDR         = "ClusterCIDR"
	NodeCIDR            = "NodeCIDR"
	BridgeInterface     = "BridgeInterface"
	InterfaceNamePrefix = "InterfaceNamePrefix"
)

// Primary, among the addresses of node ports, is the node's own.
const Primary = "primary"

// Configuration is a KubeProxyConfiguration. Some fields are read and do
// nothing here; Configuration.Ignored names them.
type Configuration struct {
	metav1.TypeMeta `json:",inline"`

	FeatureGates                map[string]bool  `json:"featureGates,omitempty"`
	ClientConnection            ClientConnection `json:"clientConnection"`
	Logging                     Logging          `json:"logging"`
	HostnameOverride            string           `json:"hostnameOverride"`
	BindAddress                 string           `json:"bindAddress"`
	HealthzBindAddress          string           `json:"healthzBindAddress"`
	MetricsBindAddress          string           `json:"metricsBindAddress"`
	BindAddressHardFail         bool             `json:"bindAddressHardFail"`
	EnableProfiling             bool             `json:"enableProfiling"`
	ShowHiddenMetricsForVersion string           `json:"showHiddenMetricsForVersion"`
	Mode                        string           `json:"mode"`
	IPTables                    IPTables         `json:"iptables"`
	IPVS                        IPVS             `json:"ipvs"`
	NFTables                    NFTables         `json:"nftables"`
	Winkernel                   Winkernel        `json:"winkernel"`
	DetectLocalMode             string           `json:"detectLocalMode"`
	DetectLocal                 DetectLocal      `json:"detectLocal"`
	ClusterCIDR                 string           `json:"clusterCIDR"`
	NodePortAddresses           []string         `json:"nodePortAddresses"`
	OOMScoreAdj                 *int32           `json:"oomScoreAdj"`
	Conntrack                   Conntrack        `json:"conntrack"`
	ConfigSyncPeriod            metav1.Duration  `json:"configSyncPeriod"`
	PortRange                   string           `json:"portRange"`
	WindowsRunAsService         bool             `json:"windowsRunAsService,omitempty"`
}

// ClientConnection is how the API server is reached.
type ClientConnection struct {
	Kubeconfig         string  `json:"kubeconfig"`
	AcceptContentTypes string  `json:"acceptContentTypes"`
	ContentType        string  `json:"contentType"`
	QPS                float32 `json:"qps"`
	Burst              int32   `json:"burst"`
}

// Logging is component-base's: format and verbosity hold here.
type Logging struct {
	Format         string          `json:"format,omitempty"`
	FlushFrequency any             `json:"flushFrequency,omitempty"`
	Verbosity      uint32          `json:"verbosity"`
	VModule        []VModule       `json:"vmodule,omitempty"`
	Options        *LoggingOptions `json:"options,omitempty"`
}

// VModule is the verbosity of some files.
type VModule struct {
	FilePattern string `json:"filePattern"`
	Verbosity   uint32 `json:"verbosity"`
}

// LoggingOptions of the formats.
type LoggingOptions struct {
	Text LoggingOutput `json:"text"`
	JSON LoggingOutput `json:"json"`
}

// LoggingOutput of one format.
type LoggingOutput struct {
	SplitStream    bool   `json:"splitStream,omitempty"`
	InfoBufferSize string `json:"infoBufferSize,omitempty"`
}

// IPTables mode.
type IPTables struct {
	MasqueradeBit      *int32          `json:"masqueradeBit"`
	MasqueradeAll      bool            `json:"masqueradeAll"`
	LocalhostNodePorts *bool           `json:"localhostNodePorts"`
	SyncPeriod         metav1.Duration `json:"syncPeriod"`
	MinSyncPeriod      metav1.Duration `json:"minSyncPeriod"`
}

// IPVS mode.
type IPVS struct {
	SyncPeriod    metav1.Duration `json:"syncPeriod"`
	MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
	Scheduler     string          `json:"scheduler"`
	ExcludeCIDRs  []string        `json:"excludeCIDRs"`
	StrictARP     bool            `json:"strictARP"`
	TCPTimeout    metav1.Duration `json:"tcpTimeout"`
	TCPFinTimeout metav1.Duration `json:"tcpFinTimeout"`
	UDPTimeout    metav1.Duration `json:"udpTimeout"`
}

// NFTables mode.
type NFTables struct {
	MasqueradeBit *int32          `json:"masqueradeBit"`
	MasqueradeAll bool            `json:"masqueradeAll"`
	SyncPeriod    metav1.Duration `json:"syncPeriod"`
	MinSyncPeriod metav1.Duration `json:"minSyncPeriod"`
}

// Winkernel are settings of Windows.
type Winkernel struct {
	NetworkName           string `json:"networkName"`
	SourceVip             string `json:"sourceVip"`
	EnableDSR             bool   `json:"enableDSR"`
	RootHnsEndpointName   string `json:"rootHnsEndpointName"`
	ForwardHealthCheckVip bool   `json:"forwardHealthCheckVip"`
}

// DetectLocal are settings of detectLocalMode.
type DetectLocal struct {
	BridgeInterface     string `json:"bridgeInterface"`
	InterfaceNamePrefix string `json:"interfaceNamePrefix"`
}

// Conntrack are settings of the kernel's; nil and 0 leave them.
type Conntrack struct {
	MaxPerCore            *int32           `json:"maxPerCore"`
	Min                   *int32           `json:"min"`
	TCPEstablishedTimeout *metav1.Duration `json:"tcpEstablishedTimeout"`
	TCPCloseWaitTimeout   *metav1.Duration `json:"tcpCloseWaitTimeout"`
	TCPBeLiberal          bool             `json:"tcpBeLiberal"`
	UDPTimeout            metav1.Duration  `json:"udpTimeout"`
	UDPStreamTimeout      metav1.Duration  `json:"udpStreamTimeout"`
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
