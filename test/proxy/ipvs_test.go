//go:build vm

package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/test/apiservertest"
)

// TestIPVS: the program in the mode ipvs, from a Service to a connection, over
// a kill, to --cleanup. It needs a kernel with IPVS: test/vm has one.
func TestIPVS(t *testing.T) {
	server := apiservertest.Start(t)
	c := &cluster{kube: client(t, server.Kubeconfig)}
	// Two endpoints at addresses of the namespace's own.
	var at []netip.Addr
	for i := range 2 {
		a := netip.AddrFrom4([4]byte{10, 250, 0, byte(i + 1)})
		if out, err := exec.Command("ip", "address", "add", a.String()+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, 8080).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, a) })) // ends with the listener
		}()
		at = append(at, a)
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
	s, err := c.kube.CoreV1().Services("default").Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.kube.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice(0, at), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--proxy-mode=ipvs", "--metrics-bind-address=127.0.0.1:10249"}
	c.start(t, server.Kubeconfig, flags...)
	url := "http://" + s.Spec.ClusterIP
	answers(t, url, at...)
	if mode := get(t, "http://127.0.0.1:10249/proxyMode"); mode != "ipvs" {
		t.Errorf("the mode is %q", mode)
	}
	if m := get(t, "http://127.0.0.1:10249/metrics"); !strings.Contains(m, "kubeproxy_ipvs_virtual_servers ") {
		t.Error("no metrics of IPVS")
	}
	// Without the program all goes on; another one follows what changed.
	c.stop()
	answers(t, url, at...)
	if _, err := c.kube.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice(0, at[1:]), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start(t, server.Kubeconfig, flags...)
	answers(t, url, at[1])
	c.stop()
	// Each mode takes over from each other one, and takes its things away.
	if out, err := exec.Command("ip", "route", "add", "default", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, mode := range []string{"iptables", "ipvs", "nftables", "iptables", "nftables", "ipvs"} {
		c.start(t, server.Kubeconfig, "--proxy-mode="+mode, "--metrics-bind-address=127.0.0.1:10249")
		waitModes(t, mode)
		answers(t, url, at[1])
		// The guest's kernel can count what rules drop.
		const counter = "\nkubeproxy_iptables_ct_state_invalid_dropped_packets_total 0\n"
		if m := get(t, "http://127.0.0.1:10249/metrics"); strings.Contains(m, counter) != (mode == "iptables") {
			t.Errorf("in the mode %s, has /metrics %q? It is %s", mode, counter, m)
		}
		c.stop()
	}
	if out, err := exec.Command(apiservertest.Binary("kube-proxy"), "--cleanup").CombinedOutput(); err != nil {
		t.Errorf("--cleanup: %v\n%s", err, out)
	}
	if left := modesOf(t); len(left) > 0 {
		t.Errorf("left of the modes %v", left)
	}
}

// waitModes waits until the kernel has what one mode makes, and of the other
// modes nothing.
func waitModes(t *testing.T, want string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = modesOf(t); slices.Equal(got, []string{want}) {
			return
		}
	}
	t.Fatalf("the kernel has things of the modes %v, want %s alone", got, want)
}

// modesOf are the modes that the kernel has something of.
func modesOf(t *testing.T) (modes []string) {
	t.Helper()
	servers, err := os.ReadFile("/proc/net/ip_vs")
	if err != nil {
		t.Fatal(err)
	}
	_, err = net.InterfaceByName("kube-ipvs0")
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "kube-proxy"}
	of := func(set string) bool {
		_, err := (&nftables.Conn{}).GetSetByName(table, set)
		return err == nil
	}
	// The modes ipvs and nftables have tables of one name; what is in them differs.
	if err == nil || strings.Count(string(servers), "\n") > 3 /* the heading */ || of("ways") {
		modes = append(modes, "ipvs")
	}
	if of("routes") {
		modes = append(modes, "nftables")
	}
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		out, err := exec.Command(program).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		if strings.Contains(string(out), "KUBE-") {
			modes = append(modes, "iptables")
			break
		}
	}
	return modes
}

// answers waits until these endpoints answer at an address, and no others.
func answers(t *testing.T, url string, want ...netip.Addr) {
	t.Helper()
	got := map[string]int{}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		clear(got)
		for range 6 {
			got[get(nil, url)]++
		}
		all := len(got) == len(want)
		for _, a := range want {
			all = all && got[a.String()] > 0
		}
		if all {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s is answered by %v, want %v", url, got, want)
}
