package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/client/daemon"
)

// Load reads a file, strictly, fills in the defaults and checks.
func Load(path string) (*Configuration, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	c, err := Decode(content)
	if err != nil {
		return nil, fmt.Errorf("--config %s: %w", path, err)
	}
	return c, nil
}

// Decode is Load of a file's content.
func Decode(content []byte) (*Configuration, error) {
	c := &Configuration{}
	if _, err := daemon.DecodeConfig(content, Group, Kind, []string{Version}, c); err != nil {
		return nil, err
	}
	return c, c.Complete()
}

// Complete fills in the defaults and checks.
func (c *Configuration) Complete() error {
	c.defaults()
	return c.validate()
}

// Write writes a configuration to a file.
func Write(path string, c *Configuration) error {
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Ports of kube-proxy.
const (
	healthzPort = "10256"
	metricsPort = "10249"
)

// Defaults of what has no effect: other values are told.
const (
	defaultConfigSync = 15 * time.Minute
	defaultQPS        = 5
	defaultBurst      = 10
)

func set[T comparable](to *T, v T) {
	var zero T
	if *to == zero {
		*to = v
	}
}

func pointer[T any](to **T, v T) {
	if *to == nil {
		*to = &v
	}
}

func (c *Configuration) defaults() {
	c.Kind, c.APIVersion = Kind, Group+"/"+Version
	set(&c.BindAddress, "0.0.0.0")
	six := strings.Contains(c.BindAddress, ":")
	any, loopback := "0.0.0.0", "127.0.0.1"
	if six {
		any, loopback = "::", "::1"
	}
	c.HealthzBindAddress = withPort(c.HealthzBindAddress, any, healthzPort)
	c.MetricsBindAddress = withPort(c.MetricsBindAddress, loopback, metricsPort)
	set(&c.Mode, ModeNFTables)
	period := func(d *metav1.Duration, v time.Duration) { set(&d.Duration, v) }
	period(&c.IPTables.SyncPeriod, 30*time.Second)
	period(&c.IPVS.SyncPeriod, 30*time.Second)
	period(&c.NFTables.SyncPeriod, 30*time.Second)
	period(&c.ConfigSyncPeriod, defaultConfigSync)
	set(&c.IPVS.Scheduler, "rr")
	pointer(&c.IPTables.MasqueradeBit, 14)
	pointer(&c.IPTables.LocalhostNodePorts, true)
	pointer(&c.NFTables.MasqueradeBit, 14)
	pointer(&c.OOMScoreAdj, -999)
	pointer(&c.Conntrack.MaxPerCore, 32*1024)
	pointer(&c.Conntrack.Min, 128*1024)
	pointer(&c.Conntrack.TCPEstablishedTimeout, metav1.Duration{Duration: 24 * time.Hour})
	pointer(&c.Conntrack.TCPCloseWaitTimeout, metav1.Duration{Duration: time.Hour})
	set(&c.DetectLocalMode, ClusterCIDR)
	if len(c.NodePortAddresses) == 0 && c.Mode == ModeNFTables {
		c.NodePortAddresses = []string{Primary}
	}
	set(&c.ClientConnection.ContentType, "application/vnd.kubernetes.protobuf")
	set(&c.ClientConnection.QPS, defaultQPS)
	set(&c.ClientConnection.Burst, defaultBurst)
	set(&c.Logging.Format, "text")
}

// withPort completes an address of a server.
func withPort(address, any, port string) string {
	if address == "" {
		return net.JoinHostPort(any, port)
	}
	if a, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		return net.JoinHostPort(a.String(), port)
	}
	return address
}

// Off is the address of a server that shall not be.
func Off(address string) bool {
	_, port, err := net.SplitHostPort(address)
	return err == nil && port == "0"
}

func (c *Configuration) validate() error {
	var errs []error
	bad := func(field, value, want string) {
		errs = append(errs, fmt.Errorf("KubeProxyConfiguration.%s: Invalid value: %q: %s", field, value, want))
	}
	switch c.Mode {
	case ModeNFTables, ModeIPTables, ModeIPVS:
	default:
		bad("mode", c.Mode, "must be nftables, iptables or ipvs")
	}
	if c.Logging.Format != "text" && c.Logging.Format != "json" {
		bad("logging.format", c.Logging.Format, "must be text or json")
	}
	if !schedulerName.MatchString(c.IPVS.Scheduler) {
		bad("ipvs.scheduler", c.IPVS.Scheduler, "must be the name of a scheduler of IPVS, such as rr, wrr, lc, sh or mh")
	}
	if _, err := netip.ParseAddr(c.BindAddress); err != nil {
		bad("bindAddress", c.BindAddress, "not a valid textual representation of an IP address")
	}
	for field, v := range map[string]string{"healthzBindAddress": c.HealthzBindAddress, "metricsBindAddress": c.MetricsBindAddress} {
		if !address(v) {
			bad(field, v, "must be IP:port")
		}
	}
	for field, d := range map[string]time.Duration{
		"nftables.syncPeriod": c.NFTables.SyncPeriod.Duration, "nftables.minSyncPeriod": c.NFTables.MinSyncPeriod.Duration,
		"iptables.syncPeriod": c.IPTables.SyncPeriod.Duration, "iptables.minSyncPeriod": c.IPTables.MinSyncPeriod.Duration,
		"ipvs.syncPeriod": c.IPVS.SyncPeriod.Duration, "ipvs.minSyncPeriod": c.IPVS.MinSyncPeriod.Duration,
		"ipvs.tcpTimeout": c.IPVS.TCPTimeout.Duration, "ipvs.tcpFinTimeout": c.IPVS.TCPFinTimeout.Duration, "ipvs.udpTimeout": c.IPVS.UDPTimeout.Duration,
		"configSyncPeriod": c.ConfigSyncPeriod.Duration, "conntrack.udpTimeout": c.Conntrack.UDPTimeout.Duration, "conntrack.udpStreamTimeout": c.Conntrack.UDPStreamTimeout.Duration,
		"conntrack.tcpEstablishedTimeout": c.Conntrack.TCPEstablishedTimeout.Duration, "conntrack.tcpCloseWaitTimeout": c.Conntrack.TCPCloseWaitTimeout.Duration,
	} {
		if d < 0 {
			bad(field, d.String(), "must be greater than or equal to 0")
		}
	}
	for field, v := range map[string]int32{"conntrack.maxPerCore": *c.Conntrack.MaxPerCore, "conntrack.min": *c.Conntrack.Min} {
		if v < 0 {
			bad(field, fmt.Sprint(v), "must be greater than or equal to 0")
		}
	}
	for field, v := range map[string]int32{"nftables.masqueradeBit": *c.NFTables.MasqueradeBit, "iptables.masqueradeBit": *c.IPTables.MasqueradeBit} {
		if v < 0 || v > 31 {
			bad(field, fmt.Sprint(v), "must be within the range [0, 31]")
		}
	}
	if v := *c.OOMScoreAdj; v < -1000 || v > 1000 {
		bad("oomScoreAdj", fmt.Sprint(v), "must be within the range [-1000, 1000]")
	}
	errs = append(errs, c.validateNetworks(bad)...)
	return errors.Join(errs...)
}

// schedulerName is what a kernel module's name may end in.
var schedulerName = regexp.MustCompile(`^[a-z0-9_]{1,15}$`)

func address(v string) bool {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	return err == nil && (ipErr == nil || n == 0)
}

func (c *Configuration) validateNetworks(bad func(field, value, want string)) (errs []error) {
	if c.ClusterCIDR != "" {
		if all, err := networks(strings.Split(c.ClusterCIDR, ",")); err != nil || len(all) > 2 {
			bad("clusterCIDR", c.ClusterCIDR, "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48), or two of both families")
		}
	}
	if !slices.Equal(c.NodePortAddresses, []string{Primary}) {
		if _, err := networks(c.NodePortAddresses); err != nil {
			bad("nodePortAddresses", strings.Join(c.NodePortAddresses, ","), "must be CIDR blocks, or primary alone")
		}
	}
	if _, err := networks(c.IPVS.ExcludeCIDRs); err != nil {
		bad("ipvs.excludeCIDRs", strings.Join(c.IPVS.ExcludeCIDRs, ","), "must be CIDR blocks")
	}
	switch c.DetectLocalMode {
	case ClusterCIDR, NodeCIDR:
	case BridgeInterface:
		if c.DetectLocal.BridgeInterface == "" {
			bad("detectLocal.bridgeInterface", "", "must be set with detectLocalMode BridgeInterface")
		}
	case InterfaceNamePrefix:
		if c.DetectLocal.InterfaceNamePrefix == "" {
			bad("detectLocal.interfaceNamePrefix", "", "must be set with detectLocalMode InterfaceNamePrefix")
		}
	default:
		bad("detectLocalMode", c.DetectLocalMode, "must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	}
	for field, name := range map[string]string{"detectLocal.bridgeInterface": c.DetectLocal.BridgeInterface, "detectLocal.interfaceNamePrefix": c.DetectLocal.InterfaceNamePrefix} {
		if len(name) > 15 {
			bad(field, name, "a link's name has 15 characters at most")
		}
	}
	return errs
}

// IPVSExclude are networks whose virtual servers are left alone; validated
// before.
func (c *Configuration) IPVSExclude() []netip.Prefix {
	out, _ := networks(c.IPVS.ExcludeCIDRs) // validated
	return out
}

func networks(all []string) (out []netip.Prefix, err error) {
	for _, text := range all {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// ClusterNetworks are those of all pods; validated before.
func (c *Configuration) ClusterNetworks() []netip.Prefix {
	if c.ClusterCIDR == "" {
		return nil
	}
	out, _ := networks(strings.Split(c.ClusterCIDR, ",")) // validated
	return out
}

// NodePortNetworks are where node ports are reached; primary is the node's
// own addresses instead.
func (c *Configuration) NodePortNetworks() (out []netip.Prefix, primary bool) {
	if slices.Equal(c.NodePortAddresses, []string{Primary}) {
		return nil, true
	}
	out, _ = networks(c.NodePortAddresses) // validated
	return out, false
}

// NodeIP is what the node's address is taken to be, in its family, unless it
// is unspecified. No socket is bound to it; its name is history. Validated
// before.
func (c *Configuration) NodeIP() netip.Addr {
	a, _ := netip.ParseAddr(c.BindAddress) // validated
	return a.Unmap()
}

// MasqueradeAll, SyncPeriod and MinSyncPeriod are those of the mode.
func (c *Configuration) MasqueradeAll() bool {
	return c.NFTables.MasqueradeAll || c.IPTables.MasqueradeAll
}

// MasqueradeBit is the bit of the packet mark that asks for it; the mode ipvs
// shares iptables' as in Kubernetes.
func (c *Configuration) MasqueradeBit() int {
	if c.Mode == ModeIPVS || c.Mode == ModeIPTables {
		return int(*c.IPTables.MasqueradeBit)
	}
	return int(*c.NFTables.MasqueradeBit)
}

// SyncPeriod is how often the kernel is looked at though nothing has changed.
func (c *Configuration) SyncPeriod() time.Duration {
	switch c.Mode {
	case ModeIPVS:
		return c.IPVS.SyncPeriod.Duration
	case ModeIPTables:
		return c.IPTables.SyncPeriod.Duration
	}
	return c.NFTables.SyncPeriod.Duration
}

// MinSyncPeriod is the least time between two changes; 0, the default here,
// applies each at once.
func (c *Configuration) MinSyncPeriod() time.Duration {
	switch c.Mode {
	case ModeIPVS:
		return c.IPVS.MinSyncPeriod.Duration
	case ModeIPTables:
		return c.IPTables.MinSyncPeriod.Duration
	}
	return c.NFTables.MinSyncPeriod.Duration
}

// Ignored names the fields that were given and do nothing, with the reason.
func (c *Configuration) Ignored() map[string]string {
	out := map[string]string{}
	if c.PortRange != "" {
		out["portRange"] = "no ports are opened on the node"
	}
	if c.Winkernel != (Winkernel{}) || c.WindowsRunAsService {
		out["winkernel"] = "this is not Windows"
	}
	if c.ClientConnection.AcceptContentTypes != "" {
		out["clientConnection.acceptContentTypes"] = "the protocol is gRPC with protobuf"
	}
	if c.ShowHiddenMetricsForVersion != "" {
		out["showHiddenMetricsForVersion"] = "no metrics are hidden"
	}
	if d := c.ConfigSyncPeriod.Duration; d != defaultConfigSync {
		out["configSyncPeriod"] = "changes come as a stream; nothing is listed again"
	}
	if x := c.ClientConnection; x.QPS != defaultQPS || x.Burst != defaultBurst {
		out["clientConnection.qps"] = "the API server limits its clients"
	}
	if l := c.Logging; len(l.VModule) > 0 {
		out["logging.vmodule"] = "logs have one level"
	}
	return out
}
