package app

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"xebec.dev/kube-proxy/internal/config"
)

func decode(t *testing.T, text string) *config.Configuration {
	t.Helper()
	c, err := config.Decode([]byte("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		text string
		want []setting
	}{
		{"", []setting{{"netfilter/nf_conntrack_max", 131072, true}, {"netfilter/nf_conntrack_tcp_timeout_established", 86400, false}, {"netfilter/nf_conntrack_tcp_timeout_close_wait", 3600, false}}},
		{"conntrack: {maxPerCore: 100000, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, tcpBeLiberal: true, udpTimeout: 10s, udpStreamTimeout: 1m}", []setting{
			{"netfilter/nf_conntrack_max", 200000, true}, {"netfilter/nf_conntrack_udp_timeout", 10, false}, {"netfilter/nf_conntrack_udp_timeout_stream", 60, false}, {"netfilter/nf_conntrack_tcp_be_liberal", 1, false},
		}},
		{"conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}", nil},
		{"mode: iptables\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}", []setting{{"ipv4/conf/all/route_localnet", 1, false}}},
		{"mode: iptables\nnodePortAddresses: [10.0.0.0/8]\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}", nil},
		{"mode: iptables\niptables: {localhostNodePorts: false}\nconntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}", nil},
	} {
		if got := settingsOf(decode(t, c.text), 2); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%v, want\n%v", c.text, got, c.want)
		}
	}
}

func TestTableSize(t *testing.T) {
	for _, c := range []struct{ text, is, want string }{
		{"", "16384\n", "32768"}, {"", "65536\n", "65536\n"}, {"conntrack: {maxPerCore: 0}", "1\n", "1\n"},
	} {
		file := filepath.Join(t.TempDir(), "hashsize")
		if err := os.WriteFile(file, []byte(c.is), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tableSize(decode(t, c.text), 2, file); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); string(got) != c.want || err != nil {
			t.Errorf("%q: %q to %q, %v; want %q", c.text, c.is, got, err, c.want)
		}
	}
}
