package config

import (
	"time"

	"github.com/spf13/pflag"
)

// Flags make a configuration where there is no file. Those below Xebec's name
// hold in any case.
type Flags struct {
	Configuration
	WriteTo  string
	Cleanup  bool
	InitOnly bool

	// The pod network.
	PodNetwork       string
	PodNetworkConf   string
	PodNetworkBridge string
	PodNetworkMTU    int

	masqueradeAll bool
	localhost     bool
	masqueradeBit int32
	oom           int32
	maxPerCore    int32
	min           int32
	established   time.Duration
	closeWait     time.Duration
	syncPeriod    time.Duration
	minSync       time.Duration
}

// Native has kube-proxy look after the node's share of the pod network.
const Native = "native"

// Add adds the flags.
func (f *Flags) Add(fs *pflag.FlagSet) {
	c := &f.Configuration
	const file = " This parameter is ignored if a config file is specified by --config."
	fs.StringVar(&f.WriteTo, "write-config-to", "", "If set, write the configuration values to this file and exit.")
	fs.BoolVar(&f.Cleanup, "cleanup", false, "If true cleanup all rules of all modes and exit.")
	fs.BoolVar(&f.InitOnly, "init-only", false, "If true, perform any initialization steps that must be performed with full root privileges, and then exit.")
	fs.StringVar(&c.HostnameOverride, "hostname-override", "", "If non-empty, will be used as the name of the Node that kube-proxy is running on. If unset, the node name is assumed to be the same as the node's hostname.")
	fs.StringVar(&c.BindAddress, "bind-address", "0.0.0.0", "Its family is the node's primary one."+file)
	fs.StringVar(&c.HealthzBindAddress, "healthz-bind-address", "0.0.0.0:10256", "The IP address and port for the health check server to serve on; port 0 or empty disables."+file)
	fs.StringVar(&c.MetricsBindAddress, "metrics-bind-address", "127.0.0.1:10249", "The IP address and port for the metrics server to serve on; port 0 or empty disables."+file)
	fs.BoolVar(&c.BindAddressHardFail, "bind-address-hard-fail", false, "If true kube-proxy will treat failure to bind to a port as fatal and exit."+file)
	fs.StringVar(&c.Mode, "proxy-mode", ModeNFTables, "Which proxy mode to use: nftables, iptables or ipvs."+file)
	fs.StringVar(&c.ClusterCIDR, "cluster-cidr", "", "The CIDR range of the pods in the cluster; one of each family, comma-separated. Traffic to services from elsewhere is masqueraded."+file)
	fs.StringVar(&c.DetectLocalMode, "detect-local-mode", ClusterCIDR, "How to tell pods' traffic: ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix."+file)
	fs.StringVar(&c.DetectLocal.BridgeInterface, "pod-bridge-interface", "", "A bridge interface name; traffic from it is pods', with --detect-local-mode=BridgeInterface."+file)
	fs.StringVar(&c.DetectLocal.InterfaceNamePrefix, "pod-interface-name-prefix", "", "A prefix of the names of pods' interfaces, with --detect-local-mode=InterfaceNamePrefix."+file)
	fs.StringSliceVar(&c.NodePortAddresses, "nodeport-addresses", nil, "A list of CIDR ranges that contain valid node IPs, or alternatively, the single string 'primary', the default in nftables mode."+file)
	fs.BoolVar(&f.masqueradeAll, "masquerade-all", false, "SNAT all traffic sent via Service cluster IPs."+file)
	fs.Int32Var(&f.masqueradeBit, "iptables-masquerade-bit", 14, "The bit of the packet mark that asks for SNAT. Must be within the range [0, 31]."+file)
	fs.BoolVar(&f.localhost, "iptables-localhost-nodeports", true, "If false, kube-proxy will disable the legacy behavior of allowing NodePort services to be accessed via localhost. Applies only to iptables mode and IPv4; localhost NodePorts are never allowed with other proxy modes or with IPv6."+file)
	fs.DurationVar(&f.syncPeriod, "iptables-sync-period", 30*time.Second, "How often the kernel's state is verified."+file)
	fs.DurationVar(&f.minSync, "iptables-min-sync-period", 0, "The minimum time between two changes of the rules; 0 applies each at once."+file)
	fs.StringVar(&c.IPVS.Scheduler, "ipvs-scheduler", "", "The ipvs scheduler type when proxy mode is ipvs."+file)
	fs.StringSliceVar(&c.IPVS.ExcludeCIDRs, "ipvs-exclude-cidrs", nil, "CIDRs of virtual servers that are not kube-proxy's and are left alone."+file)
	fs.BoolVar(&c.IPVS.StrictARP, "ipvs-strict-arp", false, "Enable strict ARP by setting arp_ignore to 1 and arp_announce to 2."+file)
	fs.DurationVar(&c.IPVS.SyncPeriod.Duration, "ipvs-sync-period", 30*time.Second, "How often the ipvs state is verified."+file)
	fs.DurationVar(&c.IPVS.MinSyncPeriod.Duration, "ipvs-min-sync-period", 0, "The minimum time between two changes; 0 applies each at once."+file)
	fs.DurationVar(&c.IPVS.TCPTimeout.Duration, "ipvs-tcp-timeout", 0, "The timeout for idle IPVS TCP connections, 0 to leave as-is."+file)
	fs.DurationVar(&c.IPVS.TCPFinTimeout.Duration, "ipvs-tcpfin-timeout", 0, "The timeout for IPVS TCP connections after receiving a FIN packet, 0 to leave as-is."+file)
	fs.DurationVar(&c.IPVS.UDPTimeout.Duration, "ipvs-udp-timeout", 0, "The timeout for IPVS UDP packets, 0 to leave as-is."+file)
	fs.Int32Var(&f.maxPerCore, "conntrack-max-per-core", 32*1024, "Maximum number of NAT connections to track per CPU core (0 to leave the limit as-is and ignore conntrack-min)."+file)
	fs.Int32Var(&f.min, "conntrack-min", 128*1024, "Minimum number of conntrack entries to allocate, regardless of conntrack-max-per-core."+file)
	fs.DurationVar(&f.established, "conntrack-tcp-timeout-established", 24*time.Hour, "Idle timeout for established TCP connections (0 to leave as-is)."+file)
	fs.DurationVar(&f.closeWait, "conntrack-tcp-timeout-close-wait", time.Hour, "NAT timeout for TCP connections in the CLOSE_WAIT state (0 to leave as-is)."+file)
	fs.BoolVar(&c.Conntrack.TCPBeLiberal, "conntrack-tcp-be-liberal", false, "Enable liberal mode for tracking TCP packets by setting nf_conntrack_tcp_be_liberal to 1."+file)
	fs.DurationVar(&c.Conntrack.UDPTimeout.Duration, "conntrack-udp-timeout", 0, "Idle timeout for UNREPLIED UDP connections (0 to leave as-is)."+file)
	fs.DurationVar(&c.Conntrack.UDPStreamTimeout.Duration, "conntrack-udp-timeout-stream", 0, "Idle timeout for ASSURED UDP connections (0 to leave as-is)."+file)
	fs.Int32Var(&f.oom, "oom-score-adj", -999, "The oom-score-adj value for kube-proxy process. Values must be within the range [-1000, 1000]."+file)
	fs.StringVar(&f.PodNetwork, "pod-network", "none", "native keeps the node's share of the default pod network: the plugin's configuration, routes to other nodes' pods, masquerade and host ports. none leaves it to another network plugin.")
	fs.StringVar(&f.PodNetworkConf, "pod-network-conf", "", "With --pod-network=native, the file of the network plugin's configuration to write, such as /etc/cni/net.d/10-xebec.conflist; empty when somebody else writes it.")
	fs.StringVar(&f.PodNetworkBridge, "pod-network-bridge", "cni0", "With --pod-network=native, the bridge of pods.")
	fs.IntVar(&f.PodNetworkMTU, "pod-network-mtu", 0, "With --pod-network=native, the MTU of pods' links; 0 is the node's.")
}

// Build makes the configuration of the flags.
func (f *Flags) Build() (*Configuration, error) {
	c := f.Configuration
	c.NFTables = NFTables{MasqueradeAll: f.masqueradeAll, MasqueradeBit: &f.masqueradeBit}
	c.IPTables.MasqueradeAll, c.IPTables.MasqueradeBit = f.masqueradeAll, &f.masqueradeBit
	c.IPTables.LocalhostNodePorts = &f.localhost
	c.IPTables.SyncPeriod.Duration, c.IPTables.MinSyncPeriod.Duration = f.syncPeriod, f.minSync
	c.NFTables.SyncPeriod.Duration, c.NFTables.MinSyncPeriod.Duration = f.syncPeriod, f.minSync
	c.OOMScoreAdj = &f.oom
	c.Conntrack.MaxPerCore, c.Conntrack.Min = &f.maxPerCore, &f.min
	c.Conntrack.TCPEstablishedTimeout = duration(f.established)
	c.Conntrack.TCPCloseWaitTimeout = duration(f.closeWait)
	// What is empty is off; only an absent field has a default.
	for _, a := range []*string{&c.HealthzBindAddress, &c.MetricsBindAddress} {
		if *a == "" {
			*a = "0.0.0.0:0"
		}
	}
	return &c, c.Complete()
}
