package stats

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/containerdtest"
	"xebec.dev/kubelet/internal/volume"
)

func TestInterfaces(t *testing.T) {
	all := parseInterfaces(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
  eth1:21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
`)
	s := networkStats(time.Now(), all)
	if len(all) != 2 || s.Name != "eth0" || *s.RxBytes != 1 || *s.TxErrors != 11 || *all[0].TxBytes != 29 || all[0].rxDropped != 24 {
		t.Errorf("%+v", all)
	}
	if networkStats(time.Now(), nil) != nil {
		t.Error("no interfaces have statistics")
	}
}

func TestNanoCores(t *testing.T) {
	c := New(Options{})
	at := time.Now()
	look := func(after time.Duration, cpu uint64) string {
		at = at.Add(after)
		r := c.nanoCores("x", &cgroup.Usage{Time: at, CPU: cpu})
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for i, c := range []struct {
		after time.Duration
		cpu   uint64
		want  string
	}{
		{0, 100, "null"},
		{time.Millisecond, 100, "null"},
		{time.Second - time.Millisecond, 100 + 5e8, "500000000"},
		{time.Second, 100 + 15e8, "500000000"}, // too soon to look again
		{18 * time.Second, 100 + 20e9, "1000000000"},
		{10 * time.Second, 100 + 20e9, "0"},
		{time.Second, 5, "null"}, // made again
	} {
		if have := look(c.after, c.cpu); have != c.want {
			t.Errorf("look %d: have %s, want %s", i, have, c.want)
		}
	}
}

type fixedVolumes []volume.Usage

func (f fixedVolumes) Usage(*corev1.Pod) []volume.Usage { return f }

// A container in a real runtime shows in all forms.
func TestRealContainer(t *testing.T) {
	r := containerdtest.Start(t)
	groups, err := cgroup.New(cgroup.Options{Root: r.Cgroup})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "p"}}
	pod.Spec.Containers = []corev1.Container{{Name: "c"}}
	if err := groups.Setup(); err != nil {
		t.Fatal(err)
	}
	if err := groups.Ensure(pod); err != nil {
		t.Fatal(err)
	}
	whole := r.Cgroup
	r.Cgroup = groups.Parent(pod)
	sandbox, config := r.Sandbox("p")
	r.Cgroup = whole
	id := r.Container(sandbox, config, "c", nil, "pause")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "c", ContainerID: "containerd://" + id, Image: containerdtest.Image,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	gone := pod.DeepCopy()
	gone.Name, gone.UID = "gone", "gone"
	root := t.TempDir()
	logs := filepath.Join(root, "logs", "default_p_p", "c")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(logs, "0.log"), make([]byte, 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Options{
		Node: "n", Cgroups: groups, Pods: func() []*corev1.Pod { return []*corev1.Pod{pod, gone} }, Runtime: r, Images: r.Images,
		Volumes: fixedVolumes{{Name: "v", Ephemeral: true, UsedBytes: 1 << 20}, {Name: "w", Claim: "data", UsedBytes: 1 << 30}},
		RootDir: root, PodLogs: filepath.Join(root, "logs"),
	})
	s, err := c.Summary(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Node.NodeName != "n" || *s.Node.Memory.WorkingSetBytes == 0 || *s.Node.Memory.AvailableBytes == 0 || *s.Node.Fs.CapacityBytes == 0 ||
		*s.Node.Runtime.ImageFs.CapacityBytes == 0 || *s.Node.Rlimit.MaxPID == 0 || *s.Node.Rlimit.NumOfRunningProcesses == 0 || s.Node.StartTime.IsZero() {
		t.Errorf("node: %+v", s.Node)
	}
	if len(s.Pods) != 1 || len(s.Pods[0].Containers) != 1 {
		t.Fatalf("pods: %+v", s.Pods)
	}
	p := s.Pods[0]
	k := p.Containers[0]
	if k.Name != "c" || *k.Memory.UsageBytes == 0 || *k.CPU.UsageCoreNanoSeconds == 0 || k.Logs == nil || *k.Logs.UsedBytes < 10000 || *p.ProcessStats.ProcessCount < 2 {
		t.Errorf("%+v", k)
	}
	if used := *p.EphemeralStorage.UsedBytes; used < 1<<20+10000 || used > 2<<20 {
		t.Errorf("the pod takes %d bytes of ephemeral storage", used)
	}
	if v := p.VolumeStats[1]; v.PVCRef == nil || v.PVCRef.Name != "data" || *v.UsedBytes != 1<<30 {
		t.Errorf("%+v", v)
	}
	if only, err := c.Summary(t.Context(), true); err != nil || only.Node.Fs != nil || only.Pods[0].Containers[0].CPU == nil {
		t.Errorf("%+v %v", only, err)
	}
	names(t, c.Resource, "container_cpu_usage_seconds_total container_memory_working_set_bytes container_start_time_seconds container_swap_usage_bytes node_cpu_usage_seconds_total node_memory_working_set_bytes node_swap_usage_bytes pod_cpu_usage_seconds_total pod_memory_working_set_bytes pod_swap_usage_bytes resource_scrape_error")
	families, err := c.Cadvisor().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range strings.Fields("container_cpu_usage_seconds_total container_memory_working_set_bytes container_memory_rss container_start_time_seconds container_spec_memory_limit_bytes container_processes machine_cpu_cores machine_memory_bytes container_oom_events_total") {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == want }) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, f := range families {
		if f.GetName() != "container_memory_working_set_bytes" {
			continue
		}
		found := false
		for _, m := range f.Metric {
			l := map[string]string{}
			for _, p := range m.Label {
				l[p.GetName()] = p.GetValue()
			}
			found = found || l["pod"] == "p" && l["namespace"] == "default" && l["container"] == "c" && l["name"] == id && l["image"] == containerdtest.Image && m.Gauge.GetValue() > 0
		}
		if !found {
			t.Errorf("the container is not among %v", f.Metric)
		}
	}
	if _, err := r.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Summary(t.Context(), false); err != nil || len(s.Pods) != 1 || len(s.Pods[0].Containers) != 0 {
		t.Errorf("a container that has ended is shown: %+v %v", s.Pods, err)
	}
}

func names(t *testing.T, of func() prometheus.Gatherer, want string) {
	t.Helper()
	families, err := of().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range families {
		have = append(have, f.GetName())
	}
	if h := strings.Join(have, " "); h != want {
		t.Errorf("have %s\nwant %s", h, want)
	}
}
