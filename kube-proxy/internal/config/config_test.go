package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

// kubeadm is a configuration as kubeadm writes it.
const kubeadm = head + `bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16,fd44::/56
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
`

func TestDefaults(t *testing.T) {
	c, err := Decode([]byte(kubeadm))
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != ModeNFTables || c.HealthzBindAddress != "0.0.0.0:10256" || c.MetricsBindAddress != "127.0.0.1:10249" || c.SyncPeriod() != 30*time.Second || *c.Conntrack.MaxPerCore != 32768 {
		t.Errorf("defaults %+v", c)
	}
	if _, primary := c.NodePortNetworks(); !primary {
		t.Error("node ports are not at the primary addresses")
	}
	if got := c.ClusterNetworks(); len(got) != 2 || got[1].String() != "fd44::/56" {
		t.Errorf("networks of pods %v", got)
	}
	// What is written is read again as the same.
	file := filepath.Join(t.TempDir(), "config.conf")
	if err := Write(file, c); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"iptables: {syncPeriod: -1s}", "greater than or equal to 0"},
		{"logging: {format: xml}", "must be text or json"},
		{"bindAddress: here", "textual representation of an IP address"},
		{"mode: other", "must be nftables, iptables or ipvs"},
		{"ipvs: {scheduler: ../rr}", "the name of a scheduler"},
		{"clusterCidr: 10.0.0.0/8", "unknown field"},
		{"clusterCIDR: 10.0.0.0", "must be a valid CIDR block"},
		{"nodePortAddresses: [primary, 10.0.0.0/8]", "primary alone"},
		{"healthzBindAddress: host:1", "must be IP:port"},
		{"oomScoreAdj: 2000", "range [-1000, 1000]"},
		{"nftables: {masqueradeBit: 40}", "range [0, 31]"},
		{"iptables: {masqueradeBit: -1}", "range [0, 31]"},
		{"detectLocalMode: BridgeInterface", "detectLocal.bridgeInterface"},
		{"detectLocalMode: Guess", "must be ClusterCIDR"},
		{"conntrack: {min: -1}", "greater than or equal to 0"},
	} {
		if _, err := Decode([]byte(head + c.text + "\n")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestIgnored: what has no effect is told, but not where it is the default.
func TestIgnored(t *testing.T) {
	c, err := Decode([]byte(kubeadm))
	if err != nil || len(c.Ignored()) != 0 {
		t.Errorf("%v, %v", c.Ignored(), err)
	}
	c, err = Decode([]byte(head + "configSyncPeriod: 1m\nportRange: 1-2\nclientConnection: {qps: 50}\nlogging: {vmodule: [{filePattern: x, verbosity: 2}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"configSyncPeriod", "portRange", "clientConnection.qps", "logging.vmodule"} {
		if c.Ignored()[field] == "" {
			t.Errorf("%s is not told: %v", field, c.Ignored())
		}
	}
}

func TestIPVS(t *testing.T) {
	c, err := Decode([]byte(head + "mode: ipvs\niptables: {masqueradeBit: 9}\nipvs: {syncPeriod: 7s, minSyncPeriod: 2s, excludeCIDRs: [10.9.0.0/16], tcpTimeout: 1m}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.MasqueradeBit() != 9 || c.SyncPeriod() != 7*time.Second || c.MinSyncPeriod() != 2*time.Second || c.IPVS.Scheduler != "rr" || len(c.IPVSExclude()) != 1 || c.IPVS.TCPTimeout.Duration != time.Minute {
		t.Errorf("%+v", c.IPVS)
	}
	// As Kubernetes has it, node ports are at all addresses in this mode.
	if n, primary := c.NodePortNetworks(); primary || len(n) != 0 {
		t.Errorf("node ports at %v, %v", n, primary)
	}
}

func TestIPTables(t *testing.T) {
	c, err := Decode([]byte(head + "mode: iptables\niptables: {masqueradeBit: 9, syncPeriod: 7s, minSyncPeriod: 2s, localhostNodePorts: false}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.MasqueradeBit() != 9 || c.SyncPeriod() != 7*time.Second || c.MinSyncPeriod() != 2*time.Second || *c.IPTables.LocalhostNodePorts {
		t.Errorf("%+v", c.IPTables)
	}
	if n, primary := c.NodePortNetworks(); primary || len(n) != 0 {
		t.Errorf("node ports at %v, %v", n, primary)
	}
}

func TestFlags(t *testing.T) {
	f := &Flags{}
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	f.Add(fs)
	if err := fs.Parse([]string{"--cluster-cidr=10.42.0.0/16", "--conntrack-max-per-core=0", "--healthz-bind-address=127.0.0.1", "--metrics-bind-address=", "--masquerade-all", "--nodeport-addresses=10.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	c, err := f.Build()
	if err != nil {
		t.Fatal(err)
	}
	if *c.Conntrack.MaxPerCore != 0 || c.HealthzBindAddress != "127.0.0.1:10256" || !Off(c.MetricsBindAddress) || !c.MasqueradeAll() || len(c.ClusterNetworks()) != 1 {
		t.Errorf("%+v", c)
	}
	if n, primary := c.NodePortNetworks(); primary || len(n) != 1 {
		t.Errorf("node ports at %v", n)
	}
}
