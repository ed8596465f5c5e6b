package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/admission"
	"xebec.dev/kubelet/internal/eviction"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/logs"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/server"
	"xebec.dev/kubelet/internal/shutdown"
	"xebec.dev/kubelet/internal/stats"
	"xebec.dev/kubelet/internal/worker"
)

// makeCare makes what looks after the node's resources: statistics,
// collection of images, rotation of logs, eviction.
func (k *Kubelet) makeCare(context.Context) error {
	k.stats = stats.New(stats.Options{
		Node: k.name, Cgroups: k.cgroups, Volumes: k.volumes, Pods: k.workers.List, Runtime: k.runtime.Runtime, Images: k.runtime.Images,
		RootDir: k.f.RootDir, PodLogs: k.cfg.PodLogsDir, VolumePeriod: k.cfg.VolumeStats.Duration,
	})
	k.collector = &image.Collector{
		Puller: k.images, API: k.runtime.Images, Used: k.usedImages, Event: k.event, Removed: func(reason string) { k.metrics.work.deleted.WithLabelValues(reason).Inc() }, Log: k.log.Named("image"),
		Policy: image.Policy{High: int(*k.cfg.ImageGCHigh), Low: int(*k.cfg.ImageGCLow), Young: k.cfg.ImageMinimumAge.Duration, Old: k.cfg.ImageMaximumAge.Duration},
	}
	size, err := resource.ParseQuantity(k.cfg.LogMaxSize)
	if err != nil {
		return fmt.Errorf("containerLogMaxSize: %w", err)
	}
	rotator := &logs.Rotator{Runtime: k.runtime, Size: size.Value(), Files: int(*k.cfg.LogMaxFiles), Every: k.cfg.LogMonitor.Duration, Running: k.runningContainers, Log: k.log.Named("logs")}
	thresholds, err := eviction.Thresholds(k.cfg)
	if err != nil {
		return err
	}
	k.eviction = eviction.New(eviction.Options{
		Thresholds: thresholds, Transition: k.cfg.EvictionPressure.Duration, MaxGrace: int64(k.cfg.EvictionMaxGrace),
		Observe: k.observe, Uses: k.uses, Pods: k.workers.Active, Evict: k.workers.Clear, Changed: func() { k.node.Now() },
		Reclaim: k.reclaim,
		Event:   func(pod *corev1.Pod, kind, reason, message string) { k.podEvent(pod, "", kind, reason, message) },
		Count:   func(s eviction.Signal) { k.metrics.evictions.WithLabelValues(string(s)).Inc() },
		Log:     k.log.Named("eviction"),
	})
	k.runs = append(k.runs, k.collector.Run, rotator.Run, k.eviction.Run)
	if groups := shutdown.Groups(k.cfg); shutdown.Total(groups) > 0 {
		k.shutdown = shutdown.New(shutdown.Options{
			Groups: groups, Pods: k.workers.Active, Evict: k.workers.Evict, Changed: func() { k.node.Now() }, Event: k.event,
			Began: func(at time.Time) { k.metrics.shutdownBegan.Set(float64(at.UnixNano()) / 1e9) },
			Ended: func(at time.Time) { k.metrics.shutdownEnded.Set(float64(at.UnixNano()) / 1e9) },
			Log:   k.log.Named("shutdown"),
		})
		k.runs = append(k.runs, k.shutdown.Run)
	}
	return nil
}

// purgePatience is how long what pods have left may take to go before images do.
const purgePatience = 10 * time.Second

// reclaim makes room on the disks without ending a pod: what has ended goes, and
// then the images that nobody uses, those of what has ended among them.
func (k *Kubelet) reclaim(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, purgePatience)
	defer cancel()
	purged := k.workers.Purge(limited)
	if purged != nil {
		purged = fmt.Errorf("what ended pods have left: %w", purged)
	}
	_, err := k.collector.All(ctx)
	return errors.Join(purged, err)
}

// statistics adds what is measured to what is served.
func (k *Kubelet) statistics(o *server.Options) { o.Stats = k.stats }

// admit decides whether the node takes a pod.
func (k *Kubelet) admit(pod *corev1.Pod, others []*corev1.Pod, going map[types.UID]worker.Going) worker.Decision {
	if k.shutdown.Down() {
		return worker.Decision{Refusal: &worker.Refusal{Reason: shutdown.Refused, Message: shutdown.RefusedWords}}
	}
	n := *k.node.Object() // shallow: only what can be had is replaced
	n.Status.Allocatable = k.allocatable(n.Status.Allocatable)
	d := admission.Decide(admission.Input{Pod: pod, Others: others, Going: going, Node: &n, Pressures: k.eviction.Pressures(), UnsafeSysctls: k.cfg.UnsafeSysctls, AppArmor: k.host.AppArmor})
	if d.Refusal != nil || d.Wait {
		return d
	}
	if err := k.devices.Allocate(context.Background(), pod, others); err != nil { // bounds its own calls
		return worker.Decision{Refusal: &worker.Refusal{Reason: "UnexpectedAdmissionError", Message: fmt.Sprintf("Allocate failed due to %v, which is unexpected", err)}}
	}
	k.shareOut(append(others, pod))
	return d
}

// resize decides about new resources of a pod.
func (k *Kubelet) resize(pod *corev1.Pod, others []*corev1.Pod) (reason, message string) {
	n := *k.node.Object() // shallow: only what can be had is replaced
	n.Status.Allocatable = k.allocatable(n.Status.Allocatable)
	reason, message = admission.Resize(admission.Input{Pod: pod, Others: others, Node: &n})
	if reason == "" {
		k.shareOut(append(others, pod))
	}
	return reason, message
}

// allocatable is the node's own, with what others have added to its object.
func (k *Kubelet) allocatable(object corev1.ResourceList) corev1.ResourceList {
	out := k.host.Capacity(k.f.RootDir, int64(k.maxPods()))
	for name, q := range out {
		q.Sub(k.reserved[name])
		out[name] = q
	}
	devices := k.devices.Amounts()
	for name, q := range object {
		_, own := out[name]
		if _, plugged := devices[name]; !own && !plugged { // who gives devices out knows better how many there are
			out[name] = q
		}
	}
	return out
}

// usedImages are those that containers were made of, sandboxes' included.
func (k *Kubelet) usedImages(ctx context.Context) (map[string]bool, error) {
	res, err := k.runtime.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := map[string]bool{}
	for _, c := range res.Containers {
		out[c.ImageRef], out[c.ImageId], out[c.GetImage().GetImage()] = true, true, true
	}
	for _, pod := range k.workers.Active() { // about to be used
		for i := range pod.Spec.InitContainers {
			out[pod.Spec.InitContainers[i].Image] = true
		}
		for i := range pod.Spec.Containers {
			out[pod.Spec.Containers[i].Image] = true
		}
		for i := range pod.Spec.Volumes {
			if v := pod.Spec.Volumes[i].Image; v != nil {
				out[v.Reference] = true
			}
		}
		if seen := k.workers.Observed(pod.UID); seen != nil {
			for _, c := range seen.Containers {
				for _, m := range c.Mounts {
					out[m.GetImage().GetImage()] = true
				}
			}
		}
	}
	delete(out, "")
	return out, nil
}

func (k *Kubelet) runningContainers() []*runtime.Container {
	var out []*runtime.Container
	for _, pod := range k.workers.List() {
		seen := k.workers.Observed(pod.UID)
		if seen == nil {
			continue
		}
		for _, c := range seen.Containers {
			if c.State == runtime.Running {
				out = append(out, c)
			}
		}
	}
	return out
}

// observe reads how much of everything there is.
func (k *Kubelet) observe(ctx context.Context) map[eviction.Signal]eviction.Observation {
	out := map[eviction.Signal]eviction.Observation{}
	if available, ok := k.memory(); ok {
		out[eviction.Memory] = eviction.Observation{Available: available, Capacity: k.host.Memory}
	}
	limit := k.podLimit()[corev1.ResourceMemory]
	if u, err := k.cgroups.Usage(k.cgroups.AllPods()); err == nil && k.enforced("pods") {
		out[eviction.AllocatableMem] = eviction.Observation{Available: limit.Value() - int64(u.WorkingSet), Capacity: limit.Value()}
	}
	room := func(path string, bytes, inodes eviction.Signal) {
		var st unix.Statfs_t
		if unix.Statfs(path, &st) != nil {
			return
		}
		out[bytes] = eviction.Observation{Available: int64(st.Bavail) * st.Bsize, Capacity: int64(st.Blocks) * st.Bsize}
		if st.Files > 0 { // some file systems have no fixed number
			out[inodes] = eviction.Observation{Available: int64(st.Ffree), Capacity: int64(st.Files)}
		}
	}
	room(k.f.RootDir, eviction.NodeFS, eviction.NodeFSInodes)
	if res, err := k.runtime.Images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{}); err == nil {
		for _, fs := range res.ImageFilesystems {
			room(fs.GetFsId().GetMountpoint(), eviction.ImageFS, eviction.ImageFSInodes)
		}
		for _, fs := range res.ContainerFilesystems {
			room(fs.GetFsId().GetMountpoint(), eviction.ContainerFS, eviction.ContainerInodes)
		}
	}
	if most, have, err := pids(); err == nil {
		out[eviction.PIDs] = eviction.Observation{Available: most - have, Capacity: most}
	}
	return out
}

// memory is what could be given to pods: what is not in working sets.
func (k *Kubelet) memory() (int64, bool) {
	u, err := k.cgroups.Usage("/")
	if err != nil || u.WorkingSet == 0 {
		return 0, false
	}
	return k.host.Memory - int64(u.WorkingSet), true
}

func pids() (most, have int64, err error) {
	raw, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return 0, 0, err
	}
	if most, err = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64); err != nil {
		return 0, 0, err
	}
	var info unix.Sysinfo_t
	err = unix.Sysinfo(&info)
	return most, int64(info.Procs), err
}

// uses reads what the pods use.
func (k *Kubelet) uses(ctx context.Context, disk bool) ([]eviction.Use, error) {
	s, err := k.stats.Summary(ctx, !disk)
	if err != nil {
		return nil, err
	}
	active := map[types.UID]*corev1.Pod{}
	for _, p := range k.workers.Active() {
		active[p.UID] = p
	}
	var out []eviction.Use
	for i := range s.Pods {
		p := &s.Pods[i]
		pod := active[types.UID(p.PodRef.UID)]
		if pod == nil {
			continue
		}
		out = append(out, useOf(pod, p))
	}
	return out, nil
}

func useOf(pod *corev1.Pod, p *stats.PodStats) eviction.Use {
	u := eviction.Use{Pod: pod, ContainerMemory: map[string]int64{}, ContainerDisk: map[string]int64{}, EmptyDirs: map[string]int64{}}
	number := func(n *uint64) int64 {
		if n == nil {
			return 0
		}
		return int64(*n)
	}
	if p.Memory != nil {
		u.Memory = number(p.Memory.WorkingSetBytes)
	}
	if p.EphemeralStorage != nil {
		u.Disk, u.Inodes = number(p.EphemeralStorage.UsedBytes), number(p.EphemeralStorage.InodesUsed)
	}
	if p.ProcessStats != nil {
		u.PIDs = number(p.ProcessStats.ProcessCount)
	}
	for i := range p.Containers {
		c := &p.Containers[i]
		if c.Memory != nil {
			u.ContainerMemory[c.Name] = number(c.Memory.WorkingSetBytes)
		}
		for _, fs := range []*stats.FsStats{c.Rootfs, c.Logs} {
			if fs != nil {
				u.ContainerDisk[c.Name] += number(fs.UsedBytes)
			}
		}
	}
	for i := range p.VolumeStats {
		u.EmptyDirs[p.VolumeStats[i].Name] = number(p.VolumeStats[i].UsedBytes)
	}
	return u
}
