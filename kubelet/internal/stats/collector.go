// Package stats measures what the node, its pods and their containers use, by
// reading the kernel's accounts when asked, and shows it as the object of
// /stats/summary and as the metrics that dashboards know.
package stats

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/volume"
)

// Options of a collector.
type Options struct {
	Node    string
	Cgroups *cgroup.Manager
	// Volumes measures a pod's volumes; *volume.Manager does.
	Volumes interface {
		Usage(pod *corev1.Pod) []volume.Usage
	}
	// Pods are all of this node, with status; container ids are taken from
	// there.
	Pods    func() []*corev1.Pod
	Runtime runtimeapi.RuntimeServiceClient
	Images  runtimeapi.ImageServiceClient
	// RootDir is the kubelet's directory, PodLogs that of the pods' logs.
	RootDir, PodLogs string
	// VolumePeriod is how old the measure of a disk may be; 0 is a minute.
	VolumePeriod time.Duration
}

// Collector measures.
type Collector struct {
	o       Options
	started time.Time

	mu    sync.Mutex
	rates map[string]*rate       // guarded by mu: of CPU, by group
	disks map[types.UID]*diskUse // guarded by mu
}

// New makes a collector.
func New(o Options) *Collector {
	if o.VolumePeriod <= 0 {
		o.VolumePeriod = time.Minute
	}
	return &Collector{o: o, started: time.Now(), rates: map[string]*rate{}, disks: map[types.UID]*diskUse{}}
}

// rate is how fast a group uses CPU.
type rate struct {
	at    time.Time
	cpu   uint64
	cores *uint64 // billionths
	seen  time.Time
}

const (
	// leastRate and rateWindow bound the time that a rate is taken over.
	leastRate  = 100 * time.Millisecond
	rateWindow = 10 * time.Second
	// forgetRate is after how long without being asked a group is forgotten.
	forgetRate = 10 * time.Minute
)

// nanoCores is the rate since the group was looked at before.
func (c *Collector) nanoCores(path string, u *cgroup.Usage) *uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rates[path]
	if r == nil || u.CPU < r.cpu { // new, or made again under the same name
		c.rates[path] = &rate{at: u.Time, cpu: u.CPU, seen: u.Time}
		return nil
	}
	r.seen = u.Time
	passed := u.Time.Sub(r.at)
	if passed < leastRate || passed < rateWindow && r.cores != nil {
		return r.cores
	}
	cores := uint64(float64(u.CPU-r.cpu) / passed.Seconds())
	r.cores = &cores
	if passed >= rateWindow {
		r.at, r.cpu = u.Time, u.CPU
	}
	return r.cores
}

func (c *Collector) forget(now time.Time, known map[types.UID]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, r := range c.rates {
		if now.Sub(r.seen) > forgetRate {
			delete(c.rates, path)
		}
	}
	for uid := range c.disks {
		if !known[uid] {
			delete(c.disks, uid)
		}
	}
}

// container is a running container.
type container struct {
	name, id, image string
	started         time.Time
	path            string
	usage           cgroup.Usage
}

// pod is a pod that has a group.
type podSample struct {
	pod        *corev1.Pod
	path       string
	usage      cgroup.Usage
	containers []container
	network    []InterfaceStats // nil in the host's network
}

// sample looks at all pods that run.
func (c *Collector) sample(network bool) []podSample {
	var out []podSample
	known := map[types.UID]bool{}
	for _, p := range c.o.Pods() {
		known[p.UID] = true
		path := c.o.Cgroups.PodPath(p)
		u, err := c.o.Cgroups.Usage(path)
		if err != nil {
			continue // does not run yet, or no longer
		}
		s := podSample{pod: p, path: path, usage: u}
		for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
			for i := range list {
				if one, ok := c.container(p, &list[i]); ok {
					s.containers = append(s.containers, one)
				}
			}
		}
		if network && !p.Spec.HostNetwork {
			s.network = c.network(path)
		}
		out = append(out, s)
	}
	c.forget(time.Now(), known)
	return out
}

func (c *Collector) container(p *corev1.Pod, st *corev1.ContainerStatus) (container, bool) {
	_, id, ok := strings.Cut(st.ContainerID, "://")
	if !ok || st.State.Running == nil {
		return container{}, false
	}
	path := c.o.Cgroups.ContainerPath(p, id)
	u, err := c.o.Cgroups.Usage(path)
	if err != nil {
		return container{}, false
	}
	return container{name: st.Name, id: id, image: st.Image, started: st.State.Running.StartedAt.Time, path: path, usage: u}, true
}

// network are the interfaces that the processes of a group see.
func (c *Collector) network(path string) []InterfaceStats {
	for _, pid := range c.o.Cgroups.Processes(path) {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "net/dev"))
		if err == nil {
			return parseInterfaces(string(raw))
		}
	}
	return nil
}

// parseInterfaces reads the kernel's table of interfaces, but the loopback.
func parseInterfaces(table string) []InterfaceStats {
	var out []InterfaceStats
	for line := range strings.Lines(table) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 12 || name == "lo" {
			continue
		}
		n := func(i int) uint64 {
			v, _ := strconv.ParseUint(f[i], 10, 64) // the kernel writes numbers
			return v
		}
		p := func(i int) *uint64 { v := n(i); return &v }
		out = append(out, InterfaceStats{
			Name: name, RxBytes: p(0), RxErrors: p(2), TxBytes: p(8), TxErrors: p(10),
			rxPackets: n(1), rxDropped: n(3), txPackets: n(9), txDropped: n(11),
		})
	}
	return out
}

// networkStats has the default interface in front.
func networkStats(at time.Time, all []InterfaceStats) *NetworkStats {
	if len(all) == 0 {
		return nil
	}
	s := &NetworkStats{Time: metav1.NewTime(at), Interfaces: all, InterfaceStats: all[0]}
	for i := range all {
		if all[i].Name == "eth0" {
			s.InterfaceStats = all[i]
		}
	}
	return s
}

func (c *Collector) cpu(path string, u *cgroup.Usage) *CPUStats {
	return &CPUStats{Time: metav1.NewTime(u.Time), UsageNanoCores: c.nanoCores(path, u), UsageCoreNanoSeconds: &u.CPU, PSI: pressure(u, "cpu")}
}

func memory(u *cgroup.Usage) *MemoryStats {
	m := &MemoryStats{
		Time: metav1.NewTime(u.Time), UsageBytes: &u.Memory, WorkingSetBytes: &u.WorkingSet, RSSBytes: &u.RSS,
		PageFaults: &u.PageFaults, MajorPageFaults: &u.MajorPageFaults, PSI: pressure(u, "memory"),
	}
	if u.MemoryLimit > 0 {
		left := uint64(0)
		if u.MemoryLimit > u.WorkingSet {
			left = u.MemoryLimit - u.WorkingSet
		}
		m.AvailableBytes = &left
	}
	return m
}

func pressure(u *cgroup.Usage, of string) *PSIStats {
	p, ok := u.Pressure[of]
	if !ok {
		return nil
	}
	line := func(l cgroup.PressureLine) PSIData {
		return PSIData{Total: l.Total * 1000, Avg10: l.Avg10, Avg60: l.Avg60, Avg300: l.Avg300}
	}
	return &PSIStats{Full: line(p.Full), Some: line(p.Some)}
}

func stalls(u *cgroup.Usage) *IOStats {
	if p := pressure(u, "io"); p != nil {
		return &IOStats{Time: metav1.NewTime(u.Time), PSI: p}
	}
	return nil
}

func swap(u *cgroup.Usage) *SwapStats {
	return &SwapStats{Time: metav1.NewTime(u.Time), SwapUsageBytes: &u.Swap}
}

// SummaryObject is Summary, for the server.
func (c *Collector) SummaryObject(ctx context.Context, cpuAndMemoryOnly bool) (any, error) {
	return c.Summary(ctx, cpuAndMemoryOnly)
}
