package kubelet

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/client/cache"
	"xebec.dev/client/event"
	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/downward"
	"xebec.dev/kubelet/internal/env"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/lifecycle"
	"xebec.dev/kubelet/internal/node"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/pleg"
	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/source"
	"xebec.dev/kubelet/internal/status"
	"xebec.dev/kubelet/internal/worker"
)

func (k *Kubelet) makeWorkers(context.Context) error {
	var api status.API = status.None{}
	if k.api != nil {
		api = &status.Remote{Client: k.api, Batch: k.batch, Find: k.inAPI}
	}
	k.statuses = status.NewManager(api, k.log.Named("status"))
	k.workers = worker.New(worker.Options{
		Runtime: k.runtime, Images: k.images, Volumes: k.volumes, Cgroups: groups{k}, Node: k, Statuses: k.statuses,
		Events: k.podEvent, Hooks: lifecycle.Runner{Exec: k.runtime}, Environment: k.environment, Secrets: k.secrets, Handler: k.handler,
		Devices: k.devices.Start, Worked: k.metrics.work.worked, Ran: k.metrics.work.ran, Rejected: func(reason string) { k.metrics.work.refused.WithLabelValues(reason).Inc() },
		Preempted: func(resource string) { k.metrics.work.preempted.WithLabelValues(resource).Inc() },
		Watched:   func(p *corev1.Pod) { k.objects.Track(p); k.volumes.Seen(p) }, Admit: k.admit, Resize: k.resize, Started: func(_ *corev1.Pod, took time.Duration) {
			k.metrics.startedPods.Inc()
			k.metrics.podStart.Observe(took.Seconds())
		},
		Lacks: func(uid types.UID) bool { return k.pleg.Lacks(uid) }, Forgotten: k.forgotten, RuntimeName: k.runner, RootDir: k.f.RootDir, PodLogs: k.cfg.PodLogsDir, LegacyLogs: legacyLogs,
		Users:   k.podUsers,
		DNS:     runtime.DNSOptions{ClusterDNS: k.cfg.ClusterDNS, ClusterDomain: k.cfg.ClusterDomain, ResolvConf: k.cfg.Resolv()},
		Seccomp: runtime.SeccompOptions{Default: *k.cfg.SeccompDefault, Root: filepath.Join(k.f.RootDir, "seccomp")},
		Sysctls: k.cfg.DefaultPodSysctls, Limits: plan.Limits{First: min(10*time.Second, k.cfg.CrashLoop.Max.Duration), Max: k.cfg.CrashLoop.Max.Duration},
		Log: k.log.Named("pod"),
	})
	k.probes = probe.New(probe.Options{Exec: k.runtime, Changed: k.workers.Wake, Event: k.podEvent, Count: k.probed, Took: k.probeTook, Log: k.log.Named("probe")})
	k.workers.SetProbes(k.probes)
	k.pleg = pleg.New(k.runtime, pleg.Options{Changed: k.workers.Observe, Known: k.workers.Knows, Found: k.found, Listed: k.listed(), Log: k.log.Named("pleg")})
	k.runs = append(k.runs, k.workers.Run, k.probes.Run, k.statuses.Run, k.pleg.Run, k.sweep)
	return nil
}

// found ends pods that the runtime has and nobody wants, once it is known who
// wants what.
func (k *Kubelet) found(uid types.UID, key runtime.Key) {
	if !k.sourcesReady() || k.workers.Known(uid) {
		return
	}
	k.workers.Orphan(uid, key)
}

func (k *Kubelet) sourcesReady() bool {
	if k.api == nil {
		return k.staticKnown.Load()
	}
	k.deliver.Lock()
	defer k.deliver.Unlock()
	return k.staticKnown.Load() && k.delivered
}

// deliverPods tells the workers of the API's pods once the node is registered
// too: before that nobody can say whether it takes them. Until they have been
// told, nothing that runs is taken for an orphan.
func (k *Kubelet) deliverPods(ctx context.Context) error {
	if err := k.pods.WaitForSync(ctx); err != nil {
		return ctx.Err()
	}
	select {
	case <-k.node.Registered():
	case <-ctx.Done():
		return ctx.Err()
	}
	k.deliver.Lock()
	for p := range k.pods.Snapshot().All() {
		if !runtime.IsMirror(p) {
			k.workers.Update(runtime.FromAPI(p))
		}
	}
	k.delivered = true
	k.deliver.Unlock()
	k.pleg.Look()
	return k.mirrors.Run(ctx)
}

func (k *Kubelet) forgotten(uid types.UID, key runtime.Key) {
	k.metrics.probes.DeletePartialMatch(prometheus.Labels{"pod_uid": string(uid)})
	k.metrics.probeTook.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "pod": key.Name})
	k.users.Release(uid)
	k.shareOut(k.workers.Active())
	if k.mirrors != nil {
		k.mirrors.Look()
	}
}

// inAPI is the API's pod for one of this node's.
func (k *Kubelet) inAPI(pod *corev1.Pod) *corev1.Pod {
	have, ok := k.pods.Get(pod.Namespace, pod.Name)
	if !ok {
		return nil
	}
	if runtime.IsStatic(pod) {
		if have.Annotations[runtime.ConfigMirror] == pod.Annotations[runtime.ConfigHash] {
			return have
		}
		return nil
	}
	if have.UID == pod.UID {
		return have
	}
	return nil
}

func (k *Kubelet) makeSources(context.Context) error {
	k.static = &source.Static{Path: k.cfg.StaticPodPath, Node: k.name, Every: k.cfg.FileCheck.Duration, Set: k.setStatic(), Log: k.log.Named("static")}
	k.runs = append(k.runs, k.static.Run)
	if k.api == nil {
		return nil
	}
	k.mirrors = &source.Mirrors{
		API: k.api, Have: func(key runtime.Key) (*corev1.Pod, bool) { return k.pods.Get(key.Namespace, key.Name) },
		All: k.mirrorPods, Node: func() *corev1.Node { return k.node.Object() }, Alive: k.workers.Known, Log: k.log.Named("mirror"),
	}
	k.pods.OnChange(k.podChanged)
	k.nodes.OnChange(func(ch cache.Change[*corev1.Node]) {
		if ch.HasNew {
			k.node.Seen(ch.New)
		} else {
			k.node.Gone()
		}
	})
	k.runs = append(k.runs, k.deliverPods)
	return nil
}

func (k *Kubelet) mirrorPods() []*corev1.Pod {
	var out []*corev1.Pod
	for p := range k.pods.Snapshot().All() {
		if runtime.IsMirror(p) {
			out = append(out, p)
		}
	}
	return out
}

// setStatic tells the workers of static pods by what changed.
func (k *Kubelet) setStatic() func([]*corev1.Pod) {
	have := map[types.UID]bool{}
	return func(pods []*corev1.Pod) {
		next := map[types.UID]bool{}
		for _, p := range pods {
			next[p.UID] = true
		}
		for uid := range have {
			if !next[uid] {
				k.workers.Remove(uid)
			}
		}
		for _, p := range pods {
			if !have[p.UID] {
				k.workers.Update(p)
			}
		}
		have = next
		k.staticKnown.Store(true)
		if k.mirrors != nil {
			k.mirrors.Set(pods)
		}
	}
}

// podChanged passes a change of the API's pods on.
func (k *Kubelet) podChanged(ch cache.Change[*corev1.Pod]) {
	p := ch.New
	if !ch.HasNew {
		p = ch.Old
	}
	if runtime.IsMirror(p) {
		if ch.HasNew {
			k.statuses.Seen(types.UID(p.Annotations[runtime.ConfigMirror]), p)
		}
		k.mirrors.Look()
		return
	}
	k.deliver.Lock()
	defer k.deliver.Unlock()
	if !k.delivered {
		return
	}
	if ch.HasOld && ch.HasNew && ch.Old.UID != ch.New.UID {
		k.workers.Remove(ch.Old.UID)
	}
	if !ch.HasNew {
		k.workers.Remove(ch.Old.UID)
		return
	}
	k.statuses.Seen(p.UID, p)
	// What only says back what this kubelet wrote is no news to the worker.
	if ch.HasOld && ch.Old.UID == p.UID && ch.Old.Generation == p.Generation && sameButStatus(ch.Old, p) {
		return
	}
	k.workers.Update(runtime.FromAPI(p))
}

func (k *Kubelet) makeNode(context.Context) error {
	k.node = node.NewManager(node.Options{
		API: k.api, Register: *k.cfg.RegisterNode, Facts: k.facts, Update: k.cfg.StatusUpdate.Duration, Report: k.cfg.StatusReport.Duration,
		Spec: node.Spec{
			Name: k.name, Hostname: k.name, Labels: k.f.NodeLabels, Taints: k.cfg.RegisterTaints, ProviderID: k.cfg.ProviderID,
			External: k.f.CloudProvider == "external",
		},
		Lease: time.Duration(k.cfg.LeaseSeconds) * time.Second, Event: k.event, Changed: k.nodeChanged(), Log: k.log.Named("node"),
	})
	k.runs = append(k.runs, k.node.Run, k.node.Heartbeat)
	return nil
}

// nodeChanged tells the runtime of the range of pods' addresses.
func (k *Kubelet) nodeChanged() func(*corev1.Node) {
	told := ""
	return func(n *corev1.Node) {
		cidr := n.Spec.PodCIDR
		if len(n.Spec.PodCIDRs) > 1 {
			cidr = n.Spec.PodCIDRs[0] + "," + n.Spec.PodCIDRs[1]
		}
		if cidr == "" || cidr == told {
			return
		}
		told = cidr
		go func() {
			if err := k.runtime.SetPodCIDR(context.Background(), cidr); err != nil {
				k.log.Warn("the runtime does not take the range of pod addresses", zap.String("podCIDR", cidr), zap.Error(err))
			}
			k.node.Now()
		}()
	}
}

// podEvent records what happened to a pod.
func (k *Kubelet) podEvent(pod *corev1.Pod, container, kind, reason, message string) {
	k.log.Debug("event", zap.String("namespace", pod.Namespace), zap.String("name", pod.Name), zap.String("container", container), zap.String("reason", reason), zap.String("message", message))
	if k.recorder == nil {
		return
	}
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, FieldPath: fieldPath(pod, container)}
	k.recorder.Record(event.Note{About: ref, Type: kind, Reason: reason, Message: message})
}

func fieldPath(pod *corev1.Pod, container string) string {
	if container == "" {
		return ""
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container {
			return fmt.Sprintf("spec.initContainers{%s}", container)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == container {
			return fmt.Sprintf("spec.ephemeralContainers{%s}", container)
		}
	}
	return fmt.Sprintf("spec.containers{%s}", container)
}

// event records what happened to the node.
func (k *Kubelet) event(kind, reason, message string) {
	if k.recorder == nil {
		return
	}
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: k.name, UID: types.UID(k.name)}
	k.recorder.Record(event.Note{About: ref, Type: kind, Reason: reason, Message: message})
}

// servicesKnown bounds how long a pod waits for the list of services.
const servicesKnown = 5 * time.Second

func (k *Kubelet) environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container, ips []string) ([]env.Variable, []string, error) {
	o := env.Options{
		Pod:  downward.Pod{Pod: pod, IPs: ips, HostIPs: k.ips, Allocatable: k.node.Object().Status.Allocatable},
		File: func(vol, path string) ([]byte, error) { return k.volumes.ReadFile(pod, vol, path, env.MaxFile) },
	}
	if k.services != nil && !runtime.IsStatic(pod) {
		bounded, cancel := context.WithTimeout(ctx, servicesKnown)
		defer cancel()
		if err := k.services.WaitForSync(bounded); err != nil {
			return nil, nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars")
		}
		for s := range k.services.Snapshot().In(pod.Namespace) {
			o.Services = append(o.Services, s)
		}
		if pod.Namespace != corev1.NamespaceDefault {
			if s, ok := k.services.Get(corev1.NamespaceDefault, "kubernetes"); ok {
				o.Services = append(o.Services, s)
			}
		}
	}
	r, err := env.Make(ctx, c, k.objects, o)
	return r.Variables, r.Warnings, err
}

func (k *Kubelet) secrets(ctx context.Context, pod *corev1.Pod) (have []*corev1.Secret, missing []string) {
	for _, ref := range pod.Spec.ImagePullSecrets {
		s, err := k.objects.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			missing = append(missing, ref.Name)
			continue
		}
		have = append(have, s)
	}
	return have, missing
}

// handler is the runtime's for a pod's class.
func (k *Kubelet) handler(ctx context.Context, pod *corev1.Pod) (string, error) {
	name := pod.Spec.RuntimeClassName
	if name == nil || *name == "" {
		return "", nil
	}
	if k.classes == nil {
		return "", fmt.Errorf("RuntimeClass %q can't be looked up without an API server", *name)
	}
	bounded, cancel := context.WithTimeout(ctx, servicesKnown)
	defer cancel()
	if err := k.classes.WaitForSync(bounded); err != nil {
		return "", fmt.Errorf("RuntimeClasses have not been read yet")
	}
	c, ok := k.classes.Get("", *name)
	if !ok {
		return "", fmt.Errorf("failed to get sandbox runtime: no runtime for %q is configured: RuntimeClass %q not found", *name, *name)
	}
	return c.Handler, nil
}

// volumeImage makes the image of a volume present for a container.
func (k *Kubelet) volumeImage(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, container string) (*runtimeapi.ImageSpec, error) {
	handler, err := k.handler(ctx, pod)
	if err != nil {
		return nil, err
	}
	policy := v.Image.PullPolicy
	if policy == "" {
		policy = corev1.PullIfNotPresent
	}
	img, err := k.images.Ensure(ctx, image.Want{
		Image: v.Image.Reference, Policy: policy, Pod: string(pod.UID), Handler: handler,
		Keys: func() image.Keyring {
			secrets, _ := k.secrets(ctx, pod)
			keys, _ := image.KeyringOf(secrets) // the containers' images tell of bad ones
			return keys
		},
		Event: func(kind, reason, message string) { k.podEvent(pod, container, kind, reason, message) },
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ImageSpec{Image: img.Id, UserSpecifiedImage: v.Image.Reference, RuntimeHandler: handler}, nil
}

// podUsers are those of a pod that does not want the host's.
func (k *Kubelet) podUsers(ctx context.Context, pod *corev1.Pod) (*runtimeapi.UserNamespace, error) {
	if pod.Spec.HostUsers == nil || *pod.Spec.HostUsers {
		return nil, nil
	}
	name, err := k.handler(ctx, pod)
	if err != nil {
		return nil, err
	}
	for _, h := range k.health.Load().Handlers {
		if h.Name == name && h.GetFeatures().GetUserNamespaces() {
			return k.users.Of(pod.UID)
		}
	}
	return nil, fmt.Errorf("spec.hostUsers: false: the container runtime's handler %q gives pods no users of their own; leave the field out, or run the pod elsewhere", name)
}

// groups are the pods' cgroups as workers want them.
type groups struct{ k *Kubelet }

// timed counts an operation on groups that began then.
func (g groups) timed(operation string, began time.Time) {
	g.k.metrics.work.cgroups.WithLabelValues(operation).Observe(time.Since(began).Seconds())
}

func (g groups) EnsurePod(pod *corev1.Pod) (string, error) {
	defer g.timed("create", time.Now())
	if err := g.k.cgroups.Ensure(pod); err != nil {
		return "", err
	}
	return g.k.cgroups.Parent(pod), nil
}

func (g groups) Change(pod *corev1.Pod) (cgroup.Change, error) { return g.k.cgroups.Change(pod) }

func (g groups) GrowPod(pod *corev1.Pod) error {
	defer g.timed("update", time.Now())
	return g.k.cgroups.Grow(pod)
}

func (g groups) ShrinkPod(pod *corev1.Pod) error {
	defer g.timed("update", time.Now())
	return g.k.cgroups.Shrink(pod)
}

func (g groups) MemoryInUse(pod *corev1.Pod, container string) (int64, error) {
	return g.k.cgroups.MemoryInUse(pod, container)
}

func (g groups) RemovePod(uid types.UID) error {
	defer g.timed("destroy", time.Now())
	return g.k.cgroups.Remove(context.Background(), uid)
}

func (g groups) options() cgroup.ContainerOptions {
	return g.k.cgroups.Container(cgroup.ContainerOptions{MemoryCapacity: g.k.host.Memory, SingleProcessOOMKill: *g.k.cfg.SingleOOMKill})
}

func (g groups) Resources(pod *corev1.Pod, c *corev1.Container) *runtimeapi.LinuxContainerResources {
	return cgroup.Container(pod, c, g.options())
}

func (g groups) PodResources(pod *corev1.Pod) (*runtimeapi.LinuxContainerResources, *runtimeapi.LinuxContainerResources) {
	return cgroup.SandboxResources(pod, g.options())
}
