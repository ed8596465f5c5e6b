package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func list(text string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for _, f := range strings.Fields(text) {
		name, q, _ := strings.Cut(f, "=")
		out[corev1.ResourceName(name)] = resource.MustParse(q)
	}
	return out
}

// container reads "requests/limits".
func container(text string) corev1.Container {
	requests, limits, _ := strings.Cut(text, "/")
	return corev1.Container{Resources: corev1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}}
}

// pod reads a line of containers separated by commas; those marked init or
// sidecar are that, pod is the pod as a whole, overhead what it says.
func pod(text string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "a-b"}}
	always := corev1.ContainerRestartPolicyAlways
	for part := range strings.SplitSeq(text, ",") {
		kind, rest, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			kind, rest = "", kind
		}
		c := container(rest)
		switch kind {
		case "init":
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		case "sidecar":
			c.RestartPolicy = &always
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		case "pod":
			p.Spec.Resources = &c.Resources
		case "overhead":
			p.Spec.Overhead = c.Resources.Requests
		default:
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
	}
	return p
}

func TestPodLimit(t *testing.T) {
	for text, want := range map[string]string{
		"/":                                 "shares=2",
		"cpu=100m/":                         "shares=102 quota=-1/100000 memory=-1",
		"cpu=100m/,/":                       "shares=102 quota=-1/100000 memory=-1",
		"cpu=1 memory=1Mi/cpu=1 memory=1Mi": "shares=1024 quota=100000/100000 memory=1048576",
		"cpu=1m/cpu=2m":                     "shares=2 quota=1000/100000 memory=-1",
		"cpu=100m/cpu=1 memory=1Gi,memory=1/memory=1":                    "shares=102 quota=-1/100000 memory=1073741825",
		"cpu=100m/cpu=200m,init:cpu=1/cpu=2":                             "shares=1024 quota=200000/100000 memory=-1",
		"cpu=100m/,sidecar:cpu=200m/,init:cpu=250m/":                     "shares=460 quota=-1/100000 memory=-1",
		"cpu=100m/,init:cpu=250m/,sidecar:cpu=200m/":                     "shares=307 quota=-1/100000 memory=-1",
		"/,pod:cpu=500m/cpu=1 memory=64Mi":                               "shares=512 quota=100000/100000 memory=67108864",
		"cpu=1 memory=1Mi/cpu=1 memory=1Mi,overhead:cpu=250m memory=1Mi": "shares=1280 quota=125000/100000 memory=2097152",
		"cpu=1/hugepages-2Mi=4Mi":                                        "shares=1024 quota=-1/100000 memory=-1 hugepages-2MB=4194304",
		"cpu=1000/":                                                      "shares=262144 quota=-1/100000 memory=-1",
	} {
		if have := (Options{}).PodLimit(pod(text)).String(); have != want {
			t.Errorf("%s\nhave %s\nwant %s", text, have, want)
		}
	}
	o := Options{PodPIDs: 100, NoCPUQuota: true, CPUPeriod: 10 * time.Millisecond, PageSizes: []string{"2MB"}}
	if have := o.PodLimit(pod("cpu=1 memory=1Mi/cpu=1 memory=1Mi")).String(); have != "shares=1024 quota=-1/10000 memory=1048576 pids=100 hugepages-2MB=0" {
		t.Error(have)
	}
}

func TestClassLimits(t *testing.T) {
	pods := []*corev1.Pod{pod("cpu=100m/"), pod("cpu=1/"), pod("/"), pod("cpu=1 memory=1/cpu=1 memory=1")}
	o := Options{Allocatable: list("cpu=2 memory=1Gi pid=1000 hugepages-1Gi=0")}
	text := func(o Options) string {
		var out []string
		for name, l := range sorted(o.ClassLimits(pods)) {
			out = append(out, fmt.Sprintf("%q %s", name, l))
		}
		return strings.Join(out, "; ")
	}
	if have := text(o); have != `"" shares=2048; "besteffort" shares=2; "burstable" shares=1126` {
		t.Error(have)
	}
	o.Enforce = true
	if have := text(o); have != `"" shares=2048 memory=1073741824 pids=1000 hugepages-1GB=0; "besteffort" shares=2; "burstable" shares=1126` {
		t.Error(have)
	}
}

func TestSettings(t *testing.T) {
	l := Options{PodPIDs: 7}.PodLimit(pod("cpu=1 memory=1Mi/cpu=2 memory=2Mi hugepages-2Mi=2Mi"))
	free := Options{}.PodLimit(pod("cpu=1/"))
	for _, c := range []struct {
		l       Limit
		version int
		want    string
	}{
		{l, 1, "cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=200000 memory.limit_in_bytes=2097152 pids.max=7 hugetlb.2MB.limit_in_bytes=2097152"},
		{l, 2, "cpu.weight=39 cpu.max=200000 100000 memory.max=2097152 pids.max=7 hugetlb.2MB.max=2097152"},
		{free, 1, "cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=-1 memory.limit_in_bytes=-1"},
		{free, 2, "cpu.weight=39 cpu.max=max 100000 memory.max=max"},
		{Limit{}, 2, ""},
	} {
		var have []string
		for _, s := range settings(c.l, c.version) {
			have = append(have, s.file+"="+s.value)
		}
		if h := strings.Join(have, " "); h != c.want {
			t.Errorf("have %s\nwant %s", h, c.want)
		}
	}
}

func TestWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 102: 4, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if have := Weight(shares); have != want {
			t.Errorf("%d: have %d, want %d", shares, have, want)
		}
	}
}

func TestContainerResources(t *testing.T) {
	for _, c := range []struct{ pod, want string }{
		{"/", "shares=2 quota=0/100000 memory=0 oom=1000"},
		{"/cpu=500m", "shares=512 quota=50000/100000 memory=0 oom=999"},
		{"cpu=100m memory=512Mi/memory=1Gi", "shares=102 quota=0/100000 memory=1073741824 oom=500"},
		{"cpu=1 memory=1Mi/cpu=1 memory=1Mi", "shares=1024 quota=100000/100000 memory=1048576 oom=-997"},
		{"memory=2Gi/", "shares=2 quota=0/100000 memory=0 oom=3"},
		{"/,/,pod:memory=512Mi/memory=1Gi cpu=1", "shares=2 quota=100000/100000 memory=1073741824 oom=750"},
	} {
		p := pod(c.pod)
		r := Container(p, &p.Spec.Containers[0], ContainerOptions{MemoryCapacity: 1 << 30})
		have := fmt.Sprintf("shares=%d quota=%d/%d memory=%d oom=%d", r.CpuShares, r.CpuQuota, r.CpuPeriod, r.MemoryLimitInBytes, r.OomScoreAdj)
		if have != c.want {
			t.Errorf("%s\nhave %s\nwant %s", c.pod, have, c.want)
		}
	}
	p := pod("memory=512Mi/,sidecar:memory=1Mi/")
	if have := OOMScore(p, &p.Spec.InitContainers[0], 1<<30); have != 500 {
		t.Errorf("a sidecar's score is %d, its container's is 500", have)
	}
	high := int32(systemCritical)
	p = pod("/")
	p.Spec.Priority, p.Spec.PriorityClassName = &high, "system-node-critical"
	if have := OOMScore(p, &p.Spec.Containers[0], 1<<30); have != -997 {
		t.Errorf("a pod that the node can't do without has the score %d", have)
	}
	r := Container(pod("/memory=1Mi"), &pod("/memory=1Mi").Spec.Containers[0], ContainerOptions{Version: 2, Swap: true, Options: Options{PageSizes: []string{"1GB", "2MB"}}})
	if r.Unified["memory.oom.group"] != "1" || r.MemorySwapLimitInBytes != 1<<20 || len(r.HugepageLimits) != 2 {
		t.Error(r)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		o         Options
		class     string
		uid, want string
	}{
		{Options{}, "burstable", "a-b", "/kubepods/burstable/poda-b"},
		{Options{Root: "/"}, "", "a-b", "/kubepods/poda-b"},
		{Options{Root: "/node/1"}, "besteffort", "", "/node/1/kubepods/besteffort"},
		{Options{NoQOS: true, Root: "x"}, "besteffort", "u", "/x/podu"},
		{Options{NoQOS: true}, "", "", "/"},
		{Options{Driver: Systemd}, "burstable", "a-b", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"},
		{Options{Driver: Systemd}, "", "", "/kubepods.slice"},
		{Options{Driver: Systemd, Root: "/my-root"}, "", "u", "/my_root.slice/my_root-kubepods.slice/my_root-kubepods-podu.slice"},
	} {
		have := c.o.Path(c.class, types.UID(c.uid))
		if have != c.want {
			t.Errorf("have %s, want %s", have, c.want)
		}
		if c.uid != "" {
			if uid, ok := c.o.uid(filepath.Base(have)); !ok || string(uid) != c.uid {
				t.Errorf("%s: have the UID %q, want %q", have, uid, c.uid)
			}
		}
	}
	for _, name := range []string{"besteffort", "kubepods-burstable.slice", "pod", "podx.scope"} {
		if uid, ok := (Options{Driver: Systemd}).uid(name); ok {
			t.Errorf("%s was taken for that of %q", name, uid)
		}
	}
}

// real makes a manager below a group of the test's own in this kernel.
func real(t *testing.T) *Manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes control groups: run it as root")
	}
	root := fmt.Sprintf("/xebec-test-%d", os.Getpid())
	whole, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.t.make(root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := whole.removeGroup(t.Context(), root); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := whole.removeDirs(root); err != nil {
			t.Error(err)
		}
	})
	m, err := New(Options{Root: root, PodPIDs: 50})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGroupsInThisKernel(t *testing.T) {
	m := real(t)
	if err := m.Setup(); err != nil {
		t.Fatal(err)
	}
	p := pod("cpu=100m memory=1Mi/cpu=200m memory=64Mi")
	for range 2 {
		if err := m.Ensure(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.UpdateQOS([]*corev1.Pod{p}); err != nil {
		t.Fatal(err)
	}
	u, err := m.Usage(m.PodPath(p))
	if err != nil {
		t.Fatal(err)
	}
	if u.MemoryLimit != 64<<20 || u.CPUQuota != 20000 || u.CPUShares < 70 || u.CPUShares > 110 || u.ProcessLimit != 50 {
		t.Errorf("%+v", u)
	}
	sleep := exec.Command("sleep", "1000")
	sleep.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(m.PodPath(p), "container")
	// The runtime's, with processes: in the second version such a group gives
	// no controllers on.
	makeGroup := m.t.make
	if m.Version() == 2 {
		makeGroup = func(path string) error { return os.Mkdir(m.t.dirs(path)[0], 0o755) }
	}
	if err := makeGroup(inner); err != nil {
		t.Fatal(err)
	}
	for _, dir := range m.t.dirs(inner) {
		if err := write(filepath.Join(dir, "cgroup.procs"), fmt.Sprint(sleep.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if have := m.Processes(m.PodPath(p)); len(have) != 1 || have[0] != sleep.Process.Pid {
		t.Errorf("processes %v", have)
	}
	if u, err := m.Usage(m.PodPath(p)); err != nil || u.Processes != 1 || u.Memory == 0 {
		t.Errorf("%+v %v", u, err)
	}
	// A resize: what is more comes with Grow, what is less with Shrink.
	p = pod("cpu=100m memory=1Mi/memory=128Mi")
	if c, err := m.Change(p); err != nil || c != (Change{Grows: true}) {
		t.Errorf("%+v %v", c, err)
	}
	if err := m.Grow(p); err != nil {
		t.Fatal(err)
	}
	if u, err := m.Usage(m.PodPath(p)); err != nil || u.MemoryLimit != 128<<20 || u.CPUQuota != 0 {
		t.Errorf("%+v %v", u, err)
	}
	p = pod("cpu=50m memory=1Mi/cpu=100m memory=32Mi")
	// Whether a weight grows is known in the first version alone.
	if c, err := m.Change(p); err != nil || !c.Shrinks || c.Memory != 32<<20 {
		t.Errorf("%+v %v", c, err)
	}
	for _, step := range []struct {
		do            func(*corev1.Pod) error
		memory, quota uint64
	}{{m.Ensure, 128 << 20, 0}, {m.Shrink, 32 << 20, 10000}, {m.Ensure, 32 << 20, 10000}} {
		if err := step.do(p); err != nil {
			t.Fatal(err)
		}
		if u, err := m.Usage(m.PodPath(p)); err != nil || u.MemoryLimit != step.memory || u.CPUQuota != step.quota {
			t.Errorf("%+v %v", u, err)
		}
	}
	if n, err := m.MemoryInUse(p, ""); err != nil || n == 0 {
		t.Errorf("%d in use, %v", n, err)
	}
	if pods, err := m.Pods(); err != nil || len(pods) != 1 || pods[0] != "a-b" {
		t.Errorf("%v %v", pods, err)
	}
	go func() { _ = sleep.Wait() }() // it is killed
	if err := m.Remove(t.Context(), "a-b"); err != nil {
		t.Fatal(err)
	}
	if pods, err := m.Pods(); err != nil || len(pods) != 0 {
		t.Errorf("%v %v", pods, err)
	}
	if err := m.Ensure(p); err != nil { // it comes back
		t.Fatal(err)
	}
}

// The second version, where this kernel has only the first: files as the
// kernel has them.
func TestSecondVersion(t *testing.T) {
	mount := t.TempDir()
	group := "/kubepods/burstable/poda-b"
	files := map[string]string{
		"/cgroup.controllers": "cpu memory pids io\n", "/cgroup.subtree_control": "",
	}
	for _, at := range []string{"/kubepods", "/kubepods/burstable", "/kubepods/besteffort", group} {
		for name, text := range map[string]string{
			"cgroup.controllers": "cpu memory pids io\n", "cgroup.subtree_control": "cpu", "cgroup.procs": "",
			"cpu.weight": "", "cpu.max": "max 100000\n", "memory.max": "max\n", "pids.max": "max\n",
			"memory.current": "1000\n", "memory.stat": "anon 400\nfile 500\ninactive_file 300\npgfault 7\n",
			"cpu.stat":        "usage_usec 12\nuser_usec 8\nsystem_usec 4\nnr_throttled 1\nthrottled_usec 3\n",
			"io.stat":         "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
			"memory.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=99\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=9\n",
		} {
			files[at+"/"+name] = text
		}
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(mount, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mount, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := New(Options{Mount: mount, PodPIDs: 9})
	if err != nil || m.Version() != 2 {
		t.Fatal(m, err)
	}
	p := pod("cpu=1/cpu=2 memory=1Mi")
	if err := m.Setup(); err != nil {
		t.Fatal(err)
	}
	// One that is there gets no less before somebody has looked.
	if err := m.Ensure(p); err != nil {
		t.Fatal(err)
	}
	if c, err := m.Change(p); err != nil || c != (Change{Shrinks: true, Memory: 1 << 20}) {
		t.Errorf("%+v %v", c, err)
	}
	if n, err := m.MemoryInUse(p, ""); err != nil || n != 1000 {
		t.Errorf("%d in use, %v", n, err)
	}
	if err := m.Shrink(p); err != nil {
		t.Fatal(err)
	}
	if c, err := m.Change(p); err != nil || c != (Change{}) {
		t.Errorf("%+v %v", c, err)
	}
	for name, want := range map[string]string{"cpu.weight": "39", "cpu.max": "200000 100000", "memory.max": "1048576", "pids.max": "9"} {
		if have, err := os.ReadFile(filepath.Join(mount, group, name)); err != nil || string(have) != want {
			t.Errorf("%s: have %q, want %q (%v)", name, have, want, err)
		}
	}
	u, err := m.Usage(group)
	if err != nil || u.WorkingSet != 700 || u.CPU != 12000 || u.RSS != 400 || u.Devices["8:0"].WriteBytes != 2 || u.Pressure["memory"].Some.Total != 99 || u.Pressure["memory"].Full.Avg10 != .25 {
		t.Errorf("%+v %v", u, err)
	}
}
