package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"xebec.dev/test/apiservertest"
)

// cluster is an API server and a kube-proxy that listens to it.
type cluster struct {
	kube       kubernetes.Interface
	kubeconfig string
	proxy      *exec.Cmd
}

func client(t testing.TB, kubeconfig string) kubernetes.Interface {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfigOrDie(cfg)
}

func (c *cluster) start(t testing.TB, kubeconfig string, more ...string) {
	t.Helper()
	out := &bytes.Buffer{}
	args := append([]string{"--kubeconfig=" + kubeconfig, "--hostname-override=node", "--cluster-cidr=10.128.0.0/9",
		"--healthz-bind-address=", "--metrics-bind-address=", "--conntrack-max-per-core=0", "--oom-score-adj=0"}, more...)
	c.proxy = exec.Command(apiservertest.Binary("kube-proxy"), args...)
	c.proxy.Stdout, c.proxy.Stderr = out, out
	c.proxy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.proxy.Start(); err != nil {
		t.Fatalf("start kube-proxy (make build makes it): %v", err)
	}
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("kube-proxy:\n%s", out)
		}
	})
}

// stop kills kube-proxy.
func (c *cluster) stop() {
	if c.proxy != nil {
		_ = c.proxy.Process.Kill()
		_ = c.proxy.Wait() // killed
		c.proxy = nil
	}
}

func endpoints(n int) (out []netip.Addr) {
	for i := range 10 {
		out = append(out, netip.AddrFrom4([4]byte{10, byte(128 + n/6000), byte(n * 10 / 250 % 250), byte((n*10 + i) % 250)}))
	}
	return out
}

func slice(n int, addresses []netip.Addr) *discoveryv1.EndpointSlice {
	name, port, protocol, ready := fmt.Sprint("web-", n), int32(8080), corev1.ProtocolTCP, true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port, Protocol: &protocol}},
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	return s
}

// fill makes services with ten endpoints each.
func (c *cluster) fill(t testing.TB, services int) {
	t.Helper()
	ctx := context.Background()
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for w := range 8 {
		wg.Go(func() {
			for n := w; n < services; n += 8 {
				s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web-", n)}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
				_, err := c.kube.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
				if err == nil {
					_, err = c.kube.DiscoveryV1().EndpointSlices("default").Create(ctx, slice(n, endpoints(n)), metav1.CreateOptions{})
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
}

// change puts a new endpoint in the place of a service's first, and gives the
// times at which the write was sent, was answered, and was in the rules.
func (c *cluster) change(t testing.TB, r *rules, n int, to netip.Addr) (sent, answered, ruled time.Time) {
	t.Helper()
	all := endpoints(n)
	all[0] = to
	s := slice(n, all)
	sent = time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := c.kube.DiscoveryV1().EndpointSlices("default").Update(context.Background(), s, metav1.UpdateOptions{})
		answered = time.Now()
		done <- err
	}()
	ruled = r.wait(t, to, time.Minute)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return sent, answered, ruled
}

func newCluster(t testing.TB, services int) (*cluster, *rules) {
	t.Helper()
	server := apiservertest.Start(t, "--service-cluster-ip-range=10.96.0.0/12")
	c := &cluster{kube: client(t, server.Kubeconfig), kubeconfig: server.Kubeconfig}
	c.fill(t, services)
	r := listenRules(t)
	c.start(t, server.Kubeconfig)
	// The last service's endpoint: everything is written in one transaction.
	r.wait(t, endpoints(services - 1)[9], 2*time.Minute)
	return c, r
}

// TestEndpointReachesRules: a write of an EndpointSlice is in the kernel's
// rules.
func TestEndpointReachesRules(t *testing.T) {
	c, r := newCluster(t, 20)
	for i := range 5 {
		c.change(t, r, i, netip.AddrFrom4([4]byte{10, 250, 1, byte(i + 1)}))
	}
}

// TestMode: a mode that there is not, or that the kernel has not, is refused
// at once, with what to do. Where the kernel has IPVS the program goes on, to
// a server that is not there; the tests of test/vm use it.
func TestMode(t *testing.T) {
	run := func(mode string, env ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		// Without a file it ends either way.
		c := exec.CommandContext(ctx, apiservertest.Binary("kube-proxy"), "--proxy-mode="+mode, "--kubeconfig=/nonexistent", "--conntrack-max-per-core=0", "--oom-score-adj=0")
		c.Env = append(os.Environ(), env...)
		out, err := c.CombinedOutput()
		if err == nil || ctx.Err() != nil {
			t.Errorf("mode %s: %v", mode, err)
		}
		return fmt.Sprint(string(out), "\n", err)
	}
	if out := run("userspace"); !strings.Contains(out, "must be nftables, iptables or ipvs") {
		t.Error(out)
	}
	if out := run("iptables", "PATH="); !strings.Contains(out, "not in $PATH: iptables, iptables-save, iptables-restore") {
		t.Error(out)
	}
	out := run("ipvs")
	_, err := os.Stat("/proc/sys/net/ipv4/vs")
	if refused := strings.Contains(out, "load the modules ip_vs, ip_vs_rr"); refused == (err == nil) {
		t.Errorf("the kernel's IPVS: %v; kube-proxy says %s", err, out)
	}
}

// BenchmarkEndpointToRule prints how long after the write of an EndpointSlice
// its endpoint is in the kernel, with 10,000 services of 10 endpoints.
//
//	go test -run '^$' -bench EndpointToRule -benchtime 1x ./proxy
func BenchmarkEndpointToRule(b *testing.B) {
	const services, changes = 10000, 1000
	c, r := newCluster(b, services)
	time.Sleep(time.Second) // what was in use for loading is given back
	loaded, _ := resident(b, c.proxy.Process.Pid)
	for b.Loop() {
		var total, rest []time.Duration
		before, waited := processor(b, c.proxy.Process.Pid), waiting(b, c.proxy.Process.Pid)
		for i := range changes {
			sent, answered, ruled := c.change(b, r, i*7%services, netip.AddrFrom4([4]byte{10, 250, byte(i / 250), byte(i%250 + 1)}))
			total, rest = append(total, ruled.Sub(sent)), append(rest, max(0, ruled.Sub(answered)))
		}
		used := processor(b, c.proxy.Process.Pid) - before
		waited = waiting(b, c.proxy.Process.Pid) - waited
		slices.Sort(total)
		slices.Sort(rest)
		p := func(all []time.Duration, q int) time.Duration {
			return all[len(all)*q/100].Round(10 * time.Microsecond)
		}
		rss, own := resident(b, c.proxy.Process.Pid)
		fmt.Printf("\n| %d services x 10 endpoints, %d changes | p50 | p99 | most |\n|---|---|---|---|\n| EndpointSlice sent → in the rules | %v | %v | %v |\n| answered → in the rules | %v | %v | %v |\n| kube-proxy's processor time a change, and waiting for a processor | %v, %v | | |\n| kube-proxy resident: loaded; after the changes, of it not the program's file | %d MB; %d MB, %d MB | | |\n",
			services, changes, p(total, 50), p(total, 99), total[len(total)-1].Round(10*time.Microsecond), p(rest, 50), p(rest, 99), rest[len(rest)-1].Round(10*time.Microsecond), used/changes, waited/changes, loaded, rss, own)
	}
}

// resident are a process' megabytes of memory, and those of them that are not
// a file's.
func resident(b *testing.B, pid int) (rss, own int) {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(v, &rss)
		}
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			fmt.Sscan(v, &own)
		}
	}
	return rss / 1024, own / 1024
}

// waiting is how long a process' threads could have run but had no processor:
// other processes' share of what is slow.
func waiting(b *testing.B, pid int) (sum time.Duration) {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		b.Fatal("no threads", err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited int64
		fmt.Sscan(string(raw), &ran, &waited)
		sum += time.Duration(waited)
	}
	return sum
}

// processor is a process' time, user and system.
func processor(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var user, system int
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * time.Second / 100 // clock ticks
}
