package stats

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"golang.org/x/sys/unix"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/volume"
)

// Summary measures everything, or what is cheap.
func (c *Collector) Summary(ctx context.Context, cpuAndMemoryOnly bool) (*Summary, error) {
	root, err := c.o.Cgroups.Usage("/")
	if err != nil {
		return nil, fmt.Errorf("measure the node: %w", err)
	}
	s := &Summary{Pods: []PodStats{}}
	s.Node = NodeStats{
		NodeName: c.o.Node, StartTime: metav1.NewTime(bootTime()), CPU: c.cpu("/", &root), Memory: nodeMemory(&root),
		SystemContainers: c.system(), Swap: nodeSwap(root.Time),
	}
	samples := c.sample(!cpuAndMemoryOnly)
	var files *nodeFiles
	if !cpuAndMemoryOnly {
		files = c.files(ctx)
		s.Node.Fs, s.Node.Runtime, s.Node.Rlimit, s.Node.IO = files.node, files.runtime, processes(), stalls(&root)
		raw, err := os.ReadFile("/proc/net/dev")
		if err == nil {
			s.Node.Network = networkStats(time.Now(), parseInterfaces(string(raw)))
		}
	}
	for i := range samples {
		s.Pods = append(s.Pods, c.pod(&samples[i], files))
	}
	return s, nil
}

func (c *Collector) pod(s *podSample, files *nodeFiles) PodStats {
	p := PodStats{
		PodRef:     PodReference{Name: s.pod.Name, Namespace: s.pod.Namespace, UID: string(s.pod.UID)},
		Containers: []ContainerStats{}, CPU: c.cpu(s.path, &s.usage), Memory: memory(&s.usage), Swap: swap(&s.usage),
	}
	if s.pod.Status.StartTime != nil {
		p.StartTime = *s.pod.Status.StartTime
	}
	for i := range s.containers {
		k := &s.containers[i]
		p.Containers = append(p.Containers, ContainerStats{
			Name: k.name, StartTime: metav1.NewTime(k.started), CPU: c.cpu(k.path, &k.usage), Memory: memory(&k.usage), Swap: swap(&k.usage),
		})
	}
	if files == nil {
		return p
	}
	p.IO, p.ProcessStats, p.Network = stalls(&s.usage), &ProcessStats{ProcessCount: &s.usage.Processes}, networkStats(s.usage.Time, s.network)
	c.podFiles(s, &p, files)
	return p
}

// nodeFiles are the node's file systems, and the runtime's measure of the
// containers' own layers.
type nodeFiles struct {
	node    *FsStats
	runtime *RuntimeStats
	layers  map[string]*runtimeapi.FilesystemUsage // by container
}

func (c *Collector) files(ctx context.Context) *nodeFiles {
	f := &nodeFiles{node: fileSystem(c.o.RootDir), runtime: &RuntimeStats{}, layers: map[string]*runtimeapi.FilesystemUsage{}}
	if c.o.Images != nil {
		if res, err := c.o.Images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{}); err == nil {
			f.runtime.ImageFs = runtimeFiles(res.ImageFilesystems)
			f.runtime.ContainerFs = runtimeFiles(res.ContainerFilesystems)
			if f.runtime.ContainerFs == nil {
				f.runtime.ContainerFs = f.runtime.ImageFs // the same one
			}
		}
	}
	if c.o.Runtime != nil {
		if res, err := c.o.Runtime.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{}); err == nil {
			for _, s := range res.Stats {
				if s.WritableLayer != nil {
					f.layers[s.GetAttributes().GetId()] = s.WritableLayer
				}
			}
		}
	}
	return f
}

func runtimeFiles(list []*runtimeapi.FilesystemUsage) *FsStats {
	if len(list) == 0 {
		return nil
	}
	s := fileSystem(list[0].GetFsId().GetMountpoint())
	if s == nil {
		return nil
	}
	var used, inodes uint64
	for _, u := range list {
		used += u.GetUsedBytes().GetValue()
		inodes += u.GetInodesUsed().GetValue()
	}
	s.UsedBytes, s.InodesUsed = &used, &inodes
	return s
}

// fileSystem measures the file system that a path is on; nil is that it
// can't.
func fileSystem(path string) *FsStats {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return nil
	}
	block := uint64(st.Bsize)
	available, capacity, used := st.Bavail*block, st.Blocks*block, (st.Blocks-st.Bfree)*block
	inodes, free, taken := st.Files, st.Ffree, st.Files-st.Ffree
	return &FsStats{
		Time: metav1.Now(), AvailableBytes: &available, CapacityBytes: &capacity, UsedBytes: &used,
		Inodes: &inodes, InodesFree: &free, InodesUsed: &taken,
	}
}

// within is a file system with what something takes of it.
func (s *FsStats) within(used, inodes uint64) *FsStats {
	if s == nil {
		return nil
	}
	out := *s
	out.UsedBytes, out.InodesUsed = &used, &inodes
	return &out
}

// diskUse is what a pod takes of disks, as of at.
type diskUse struct {
	measuring sync.Mutex // held while measuring

	mu      sync.Mutex
	at      time.Time            // guarded by mu
	volumes []volume.Usage       // guarded by mu
	logs    map[string][2]uint64 // guarded by mu: bytes and inodes by container
	own     [2]uint64            // guarded by mu: the kubelet's files for the pod
}

// disks gives a pod's use of disks; what is too old is measured again while
// the old measure is given, the first one is waited for.
func (c *Collector) disk(pod *corev1.Pod) *diskUse {
	c.mu.Lock()
	d := c.disks[pod.UID]
	if d == nil {
		d = &diskUse{}
		c.disks[pod.UID] = d
	}
	c.mu.Unlock()
	d.mu.Lock()
	age, first := time.Since(d.at), d.at.IsZero()
	d.mu.Unlock()
	switch {
	case first:
		d.measuring.Lock()
		c.measure(pod, d)
		d.measuring.Unlock()
	case age > c.o.VolumePeriod && d.measuring.TryLock():
		go func() {
			defer d.measuring.Unlock()
			c.measure(pod, d)
		}()
	}
	return d
}

func (c *Collector) measure(pod *corev1.Pod, d *diskUse) {
	var volumes []volume.Usage
	if c.o.Volumes != nil {
		volumes = c.o.Volumes.Usage(pod)
	}
	logs := map[string][2]uint64{}
	dir := filepath.Join(c.o.PodLogs, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
	entries, err := os.ReadDir(dir)
	if err == nil {
		for _, e := range entries {
			if bytes, inodes, err := volume.DiskUsage(filepath.Join(dir, e.Name())); err == nil {
				logs[e.Name()] = [2]uint64{bytes, inodes}
			}
		}
	}
	var own [2]uint64
	if bytes, inodes, err := volume.DiskUsage(filepath.Join(c.o.RootDir, "pods", string(pod.UID), "etc-hosts")); err == nil {
		own = [2]uint64{bytes, inodes}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.volumes, d.logs, d.own = time.Now(), volumes, logs, own
}

// podFiles adds what the pod takes of disks.
func (c *Collector) podFiles(s *podSample, p *PodStats, f *nodeFiles) {
	d := c.disk(s.pod)
	d.mu.Lock()
	defer d.mu.Unlock()
	used, inodes := d.own[0], d.own[1]
	for i := range s.containers {
		k, out := &s.containers[i], &p.Containers[i]
		if l := f.layers[k.id]; l != nil {
			bytes, n := l.GetUsedBytes().GetValue(), l.GetInodesUsed().GetValue()
			used, inodes = used+bytes, inodes+n
			out.Rootfs = f.runtime.ContainerFs.within(bytes, n)
		}
		if n, ok := d.logs[k.name]; ok {
			out.Logs = f.node.within(n[0], n[1])
		}
	}
	for _, n := range d.logs {
		used, inodes = used+n[0], inodes+n[1]
	}
	for i := range d.volumes {
		v := &d.volumes[i]
		if v.Ephemeral {
			used, inodes = used+v.UsedBytes, inodes+v.UsedInodes
		}
		p.VolumeStats = append(p.VolumeStats, volumeStats(s.pod.Namespace, *v, d.at))
	}
	p.EphemeralStorage = f.node.within(used, inodes)
}

func volumeStats(namespace string, v volume.Usage, at time.Time) VolumeStats {
	out := VolumeStats{Name: v.Name, FsStats: FsStats{
		Time: metav1.NewTime(at), UsedBytes: &v.UsedBytes, CapacityBytes: &v.CapacityBytes, AvailableBytes: &v.AvailableBytes,
		InodesUsed: &v.UsedInodes, Inodes: &v.Inodes, InodesFree: &v.FreeInodes,
	}}
	if v.Claim != "" {
		out.PVCRef = &PVCReference{Name: v.Claim, Namespace: namespace}
	}
	return out
}

// system are groups besides the pods': that of all pods, and the kubelet's.
func (c *Collector) system() []ContainerStats {
	var out []ContainerStats
	add := func(name, path string) {
		u, err := c.o.Cgroups.Usage(path)
		if err != nil {
			return
		}
		out = append(out, ContainerStats{Name: name, StartTime: metav1.NewTime(c.started), CPU: c.cpu(path, &u), Memory: memory(&u), Swap: swap(&u)})
	}
	add("pods", c.o.Cgroups.AllPods())
	if own := ownGroup(); own != "/" && own != "" {
		add("kubelet", own)
	}
	return out
}

// ownGroup is where this process is, as the kernel says: in the hierarchy of
// memory, or in the second version's.
func ownGroup() string {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	unified := ""
	for line := range strings.Lines(string(raw)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[1] == "memory" {
			return f[2]
		}
		if f[1] == "" {
			unified = f[2]
		}
	}
	return unified
}

// MemoryCapacity is the node's memory in bytes; 0 is unknown.
func MemoryCapacity() uint64 { return meminfo()["MemTotal"] }

func meminfo() map[string]uint64 {
	out := map[string]uint64{}
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return out
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		name, rest, _ := strings.Cut(in.Text(), ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			n, _ := strconv.ParseUint(fields[0], 10, 64) // the kernel writes numbers
			out[name] = n * 1024
		}
	}
	return out
}

func nodeMemory(root *cgroup.Usage) *MemoryStats {
	m := memory(root)
	m.AvailableBytes = nil
	if total := MemoryCapacity(); total > 0 {
		left := uint64(0)
		if total > root.WorkingSet {
			left = total - root.WorkingSet
		}
		m.AvailableBytes = &left
	}
	return m
}

func nodeSwap(at time.Time) *SwapStats {
	info := meminfo()
	free, used := info["SwapFree"], info["SwapTotal"]-info["SwapFree"]
	return &SwapStats{Time: metav1.NewTime(at), SwapAvailableBytes: &free, SwapUsageBytes: &used}
}

func bootTime() time.Time {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(raw)) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64) // the kernel writes numbers
			return time.Unix(n, 0)
		}
	}
	return time.Time{}
}

// processes are those there are, and as many as there may be.
func processes() *RlimitStats {
	out := &RlimitStats{Time: metav1.Now()}
	least := int64(-1)
	for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err == nil && (least < 0 || n < least) {
			least = n
		}
	}
	if least >= 0 {
		out.MaxPID = &least
	}
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return out
	}
	// The fourth of its words is running/all.
	if f := strings.Fields(string(raw)); len(f) > 3 {
		if _, all, ok := strings.Cut(f[3], "/"); ok {
			if n, err := strconv.ParseInt(all, 10, 64); err == nil {
				out.NumOfRunningProcesses = &n
			}
		}
	}
	return out
}
