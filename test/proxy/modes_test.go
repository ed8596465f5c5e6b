package proxy

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/apiservertest"
)

// listed is what the kernel has of both modes.
func listed(t testing.TB) string {
	t.Helper()
	var out strings.Builder
	for _, c := range [][]string{{"iptables-save"}, {"nft", "list", "tables"}} {
		text, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", c, err, text)
		}
		out.Write(text)
	}
	return out.String()
}

// eventually waits until the kernel has rules with some texts and without
// others, which begin with "!".
func eventually(t testing.TB, texts ...string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		now, missing := listed(t), ""
		for _, text := range texts {
			name, without := strings.CutPrefix(text, "!")
			if strings.Contains(now, name) == without {
				missing = text
			}
		}
		if missing == "" {
			return now
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q does not hold of\n%s", missing, now)
		}
	}
}

// rulesOf counts the rules of a table that are kube-proxy's.
func rulesOf(t testing.TB, table string) (n int) {
	t.Helper()
	out, err := exec.Command("iptables-save", "-t", table).CombinedOutput()
	if err != nil {
		t.Fatalf("iptables-save: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "-A ") && strings.Contains(line, "KUBE-") {
			n++
		}
	}
	return n
}

// TestIPTables: the program in the mode iptables follows services and
// endpoints; each mode replaces the other, and --cleanup leaves nothing.
func TestIPTables(t *testing.T) {
	server := apiservertest.Start(t, "--service-cluster-ip-range=10.96.0.0/12")
	c := &cluster{kube: client(t, server.Kubeconfig), kubeconfig: server.Kubeconfig}
	c.fill(t, 20)
	const nftables = "table ip kube-proxy"
	c.start(t, server.Kubeconfig, "--proxy-mode=iptables", "--metrics-bind-address=127.0.0.1:10249")
	last := endpoints(19)[9].String() + ":8080"
	eventually(t, "--to-destination "+last, "default/web-19 cluster IP", ":KUBE-PROXY-CANARY", "!"+nftables)
	// One endpoint goes, another comes.
	came := netip.MustParseAddr("10.250.1.1")
	all := endpoints(3)
	gone := all[0].String() + ":8080"
	all[0] = came
	if _, err := c.kube.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice(3, all), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "--to-destination "+came.String()+":8080", "!--to-destination "+gone, "--to-destination "+last)
	if err := c.kube.CoreV1().Services("default").Delete(t.Context(), "web-19", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "!web-19", "web-18")
	if mode := get(t, "http://127.0.0.1:10249/proxyMode"); mode != "iptables" {
		t.Errorf("/proxyMode is %q", mode)
	}
	// What the metrics count is what the kernel has: 19 services alone are a
	// rule to their chain, that chain's 11 and 20 of endpoints each.
	var metrics, want string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		rules := rulesOf(t, "nat")
		if rules < 19*(1+11+20) {
			t.Fatalf("the table nat has %d rules", rules)
		}
		want = fmt.Sprintf("kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} %d\n", rules)
		if metrics = get(t, "http://127.0.0.1:10249/metrics"); strings.Contains(metrics, want) {
			break
		}
	}
	for _, want := range []string{
		want, `kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv4",table="nat"}`, `kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s:\n%s", want, metrics)
		}
	}
	c.stop()
	c.start(t, server.Kubeconfig, "--proxy-mode=nftables")
	eventually(t, nftables, "!KUBE-S", "!KUBE-P")
	c.stop()
	c.start(t, server.Kubeconfig, "--proxy-mode=iptables")
	eventually(t, "!"+nftables, "default/web-18 cluster IP")
	c.stop()
	if out, err := exec.Command(apiservertest.Binary("kube-proxy"), "--cleanup").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "!KUBE-", "!"+nftables)
}
