package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	xclient "xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

// usage is what a process has used: processor time, entries into the kernel,
// and how often its threads went to sleep.
type usage struct {
	user, system, total, waited time.Duration
	calls, sleeps               int64
}

func (u usage) minus(v usage) usage {
	return usage{u.user - v.user, u.system - v.system, u.total - v.total, u.waited - v.waited, u.calls - v.calls, u.sleeps - v.sleeps}
}

// each is the usage of one of n changes, as cells of a table.
func (u usage) each(n int) string {
	d := time.Duration(n)
	// The split is by the clock's ticks, the total is exact.
	user := u.total
	if u.user+u.system > 0 {
		user = time.Duration(float64(u.total) * float64(u.user) / float64(u.user+u.system))
	}
	return fmt.Sprintf("%v | %v | %v | %.1f | %.1f | %v", (u.total / d).Round(time.Microsecond), (user / d).Round(time.Microsecond),
		((u.total - user) / d).Round(time.Microsecond), float64(u.calls)/float64(n), float64(u.sleeps)/float64(n), (u.waited / d).Round(time.Microsecond))
}

const usageHead = "processor time | user | system | system calls | sleeps of threads | waited for a processor |\n|---|---|---|---|---|---|---|\n"

// meter reads a process' usage.
type meter struct {
	pid int
	fds []int // of counters, one for each thread there was
}

func newMeter(t testing.TB, pid int) *meter {
	t.Helper()
	m := &meter{pid: pid}
	raw, err := os.ReadFile("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id")
	if err != nil {
		t.Logf("system calls are not counted: %v", err)
		return m
	}
	id, _ := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	for _, dir := range m.tasks() {
		tid, _ := strconv.Atoi(filepath.Base(dir))
		attr := &unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit}
		attr.Size = uint32(unsafe.Sizeof(*attr))
		fd, err := unix.PerfEventOpen(attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			t.Logf("system calls are not counted: %v", err)
			return m
		}
		t.Cleanup(func() { unix.Close(fd) })
		m.fds = append(m.fds, fd)
	}
	return m
}

func (m *meter) tasks() []string {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", m.pid))
	return all
}

func (m *meter) read(t testing.TB) (u usage) {
	t.Helper()
	for _, fd := range m.fds {
		var buf [8]byte
		if _, err := unix.Read(fd, buf[:]); err != nil {
			t.Fatal(err)
		}
		u.calls += *(*int64)(unsafe.Pointer(&buf[0]))
	}
	for _, dir := range m.tasks() {
		raw, err := os.ReadFile(dir + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited int64
		fmt.Sscan(string(raw), &ran, &waited)
		u.total += time.Duration(ran)
		u.waited += time.Duration(waited)
		raw, _ = os.ReadFile(dir + "/status")
		for line := range strings.Lines(string(raw)) {
			if v, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				u.sleeps += n
			}
		}
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	var user, system int
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	u.user, u.system = time.Duration(user)*time.Second/100, time.Duration(system)*time.Second/100 // clock ticks
	return u
}

// bareOf names the kubeconfig of a program that receives what kube-proxy does,
// and does nothing with it.
const bareOf = "XEBEC_TEST_PROXY_BARE"

// bare is that program: gRPC over TLS, and no more.
func bare(kubeconfig string) error {
	c, err := xclient.Dial(xclient.Config{Kubeconfig: kubeconfig}, builtin.Scheme(), xclient.Options{})
	if err != nil {
		return err
	}
	watch, err := c.Objects().Watch(context.Background(), grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for i, r := range []*pb.Resource{{Version: "v1", Resource: "services"}, {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}} {
		fields := [][]string{{"spec.ports", "spec.clusterIP", "spec.clusterIPs"}, {"addressType", "endpoints", "ports"}}[i]
		s := xclient.Selection{Labels: "!service.kubernetes.io/headless"}
		if err := watch.Send(&pb.WatchRequest{Id: int64(i + 1), Action: &pb.WatchRequest_Subscribe{Subscribe: &pb.Subscribe{
			Resource: r, Selection: s.Proto(), Projection: xclient.Projection(false, fields), BookmarkMilliseconds: 30000, GatherMilliseconds: 2,
		}}}); err != nil {
			return err
		}
	}
	for {
		if _, err := watch.Recv(); err != nil {
			return err
		}
	}
}

func startBare(t testing.TB, kubeconfig string) int {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), bareOf+"="+kubeconfig)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // killed
	})
	return c.Process.Pid
}

// BenchmarkChange prints what a change of one endpoint costs kube-proxy, with
// 10,000 services of 10 endpoints, one at a time and at a pace; beside it what
// a program costs that receives the same and does nothing.
//
//	go test -run '^$' -bench 'Change$' -benchtime 1x ./proxy
func BenchmarkChange(b *testing.B) {
	const services = 10000
	c, r := newCluster(b, services)
	peer := startBare(b, c.kubeconfig)
	time.Sleep(3 * time.Second) // what was in use for loading is given back
	meters := []*meter{newMeter(b, c.proxy.Process.Pid), newMeter(b, peer)}
	count := byte(0)
	for b.Loop() {
		fmt.Printf("\n| changes | %s", usageHead)
		for _, pace := range []int{0, 50, 500} {
			n := map[int]int{0: 1000, 50: 500, 500: 5000}[pace]
			var before []usage
			for _, m := range meters {
				before = append(before, m.read(b))
			}
			count++
			what := "one at a time"
			began := time.Now()
			if pace == 0 {
				for i := range n {
					c.change(b, r, i*7%services, netip.AddrFrom4([4]byte{10, 249 - count, byte(i / 250), byte(i%250 + 1)}))
				}
			} else {
				c.paced(b, r, n, pace, 249-count)
				what = fmt.Sprintf("%d/s wanted, %.0f/s", pace, float64(n)/time.Since(began).Seconds())
			}
			for i, m := range meters {
				fmt.Printf("| %s, %s | %s |\n", []string{"kube-proxy", "bare"}[i], what, m.read(b).minus(before[i]).each(n))
			}
		}
	}
}

// paced makes changes at a pace, several under way at a time, and waits until
// all are in the rules.
func (c *cluster) paced(t testing.TB, r *rules, n, perSecond int, tag byte) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
				all := endpoints(i)
				all[0] = netip.AddrFrom4([4]byte{10, tag, byte(i / 250), byte(i%250 + 1)})
				if _, err := c.kube.DiscoveryV1().EndpointSlices("default").Update(context.Background(), slice(i, all), metav1.UpdateOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	last := netip.AddrFrom4([4]byte{10, tag, 255, 255})
	all := endpoints(n)
	all[0] = last
	if _, err := c.kube.DiscoveryV1().EndpointSlices("default").Update(context.Background(), slice(n, all), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.wait(t, last, time.Minute)
}
