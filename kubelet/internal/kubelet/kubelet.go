// Package kubelet puts the parts of a kubelet together: what each is told by
// the others is here, and nothing else.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/authentication"
	"xebec.dev/api/authorization"
	"xebec.dev/api/certificates"
	"xebec.dev/api/coordination"
	"xebec.dev/api/core"
	apinode "xebec.dev/api/node"
	"xebec.dev/api/scheme"
	"xebec.dev/api/storage"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/event"
	"xebec.dev/client/stream"
	"xebec.dev/kubelet/internal/certificate"
	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/config"
	"xebec.dev/kubelet/internal/credential"
	"xebec.dev/kubelet/internal/device"
	"xebec.dev/kubelet/internal/eviction"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/node"
	"xebec.dev/kubelet/internal/object"
	"xebec.dev/kubelet/internal/pleg"
	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/shutdown"
	"xebec.dev/kubelet/internal/source"
	"xebec.dev/kubelet/internal/stats"
	"xebec.dev/kubelet/internal/status"
	"xebec.dev/kubelet/internal/users"
	"xebec.dev/kubelet/internal/volume"
	"xebec.dev/kubelet/internal/worker"
)

// Kubelet is all of it.
type Kubelet struct {
	p    *daemon.Process
	f    *config.Flags
	cfg  *config.Kubelet
	log  *zap.Logger
	name string

	api      *client.Client // nil stands alone
	batch    *client.Batch
	stream   *stream.Stream
	recorder *event.Recorder
	pods     *cache.Replica[*corev1.Pod]
	nodes    *cache.Replica[*corev1.Node]
	services *cache.Replica[*corev1.Service]
	classes  *cache.Replica[*nodev1.RuntimeClass]

	runtime  *runtime.Client
	runner   string // the runtime's name
	health   atomic.Pointer[runtime.Health]
	images   *image.Puller
	cgroups  *cgroup.Manager
	objects  *object.Store
	volumes  *volume.Manager
	probes   *probe.Manager
	statuses *status.Manager
	workers  *worker.Pods
	pleg     *pleg.PLEG
	node     *node.Manager
	mirrors  *source.Mirrors
	static   *source.Static

	stats     *stats.Collector
	collector *image.Collector
	eviction  *eviction.Manager
	users     *users.Manager
	devices   *device.Manager
	shutdown  *shutdown.Manager // nil where pods get no time for it

	// deliver is held while pods of the API are told to their workers;
	// delivered, under it, says that all that there are have been.
	deliver   sync.Mutex
	delivered bool

	metrics      metrics
	probeMetrics *prometheus.Registry
	identity     *certificate.Client
	serving      *certificate.Serving

	host        *node.Host
	ips         []string
	reserved    corev1.ResourceList
	staticKnown atomic.Bool
	runs        []func(context.Context) error
}

// Scheme is the table of what a kubelet reads and writes.
func Scheme() *scheme.Scheme {
	return scheme.New(core.Resources(), coordination.Resources(), authentication.Resources(), authorization.Resources(),
		certificates.Resources(), apinode.Resources(), storage.Resources())
}

// New makes a kubelet; nothing of it runs before Run.
func New(ctx context.Context, p *daemon.Process, f *config.Flags, cfg *config.Kubelet) (*Kubelet, error) {
	k := &Kubelet{p: p, f: f, cfg: cfg, log: p.Log}
	for _, build := range []func(context.Context) error{
		k.makeHost, k.makeMetrics, k.makeRuntime, k.makeAPI, k.makeParts, k.makeWorkers, k.makeSources, k.makeNode, k.makeCare, k.makeServer,
	} {
		if err := build(ctx); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *Kubelet) makeHost(ctx context.Context) error {
	k.name = strings.ToLower(strings.TrimSpace(k.f.HostnameOverride))
	if k.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("the host's name: %w", err)
		}
		k.name = strings.ToLower(host)
	}
	var err error
	if k.host, err = node.ReadHost(); err != nil {
		return fmt.Errorf("read the machine: %w", err)
	}
	if k.host.Swap > 0 && *k.cfg.FailSwapOn {
		return errors.New("running with swap on is not supported, please disable swap or set --fail-swap-on flag to false")
	}
	if k.cfg.ProtectDefaults {
		if err := node.CheckKernel("/proc/sys"); err != nil {
			return fmt.Errorf("protectKernelDefaults: %w", err)
		}
	}
	for name, why := range k.cfg.Unheeded() {
		k.log.Warn("a setting has no effect", zap.String("setting", name), zap.String("reason", why))
	}
	if k.cfg.Contention {
		goruntime.SetBlockProfileRate(1)
	}
	const self = "/proc/self/oom_score_adj"
	if err := os.WriteFile(self, []byte(strconv.Itoa(int(*k.cfg.OOMScoreAdj))), 0o644); err != nil {
		k.log.Debug("the kubelet is not protected from want of memory", zap.Error(err))
	}
	var given []string
	if k.f.NodeIP != "" {
		given = strings.Split(k.f.NodeIP, ",")
	}
	if k.ips, err = node.Addresses(ctx, given, k.name); err != nil {
		return err
	}
	for _, d := range []string{k.f.RootDir, filepath.Join(k.f.RootDir, "pods"), filepath.Join(k.f.RootDir, "plugins"), filepath.Join(k.f.RootDir, "plugins_registry"), k.f.CertDir} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return err
		}
	}
	const logMode = 0o755 // log collectors read there
	return errors.Join(os.MkdirAll(k.cfg.PodLogsDir, logMode), os.MkdirAll(legacyLogs, logMode))
}

// legacyLogs has a link to each container's log.
const legacyLogs = "/var/log/containers"

func (k *Kubelet) makeRuntime(ctx context.Context) error {
	var err error
	k.runtime, err = runtime.Dial(k.cfg.RuntimeEndpoint, k.cfg.ImageEndpoint, k.cfg.RuntimeTimeout.Duration, k.called)
	if err != nil {
		return err
	}
	if err := k.awaitRuntime(ctx); err != nil {
		return err
	}
	driver, err := k.runtime.CgroupDriver(ctx)
	if err != nil {
		return err
	}
	if driver == "" {
		driver = k.cfg.CgroupDriver
	}
	if driver != k.cfg.CgroupDriver {
		k.log.Info("the runtime's cgroup driver is used, not the configuration's", zap.String("runtime", driver), zap.String("configuration", k.cfg.CgroupDriver))
		k.cfg.CgroupDriver = driver
	}
	return nil
}

// awaitRuntime waits for the runtime's first answer, saying what it waits for.
func (k *Kubelet) awaitRuntime(ctx context.Context) error {
	const patience = 5 * time.Second
	told := false
	for began := time.Now(); ; {
		h, err := k.runtime.Health(ctx)
		if err == nil {
			k.health.Store(h)
			k.runner, _, _ = strings.Cut(h.Version, "://")
			return nil
		}
		if !told && time.Since(began) > patience {
			told = true
			k.log.Warn("waiting for the container runtime", zap.String("endpoint", k.cfg.RuntimeEndpoint), zap.Error(err))
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func (k *Kubelet) makeAPI(ctx context.Context) error {
	if k.p.Flags.Kubeconfig == "" && k.p.Flags.Master == "" {
		k.log.Info("no kubeconfig: only static pods run")
		return nil
	}
	s := Scheme()
	at := k.p.Flags.API()
	var err error
	if k.p.Flags.Kubeconfig != "" {
		k.identity = &certificate.Client{
			Store: certificate.Store{Dir: k.f.CertDir, Name: "kubelet-client"}, Kubeconfig: k.p.Flags.Kubeconfig, Bootstrap: k.f.BootstrapKubeconfig,
			Node: k.name, Scheme: s, Rotate: k.cfg.RotateCerts, Log: k.log.Named("certificate"),
		}
		if at, err = k.identity.Config(ctx); err != nil {
			return err
		}
		at.Server = k.p.Flags.Master
	}
	c, err := client.Dial(at, s, client.Options{})
	if err != nil {
		return err
	}
	if k.identity != nil {
		k.runs = append(k.runs, func(ctx context.Context) error { return k.identity.KeepFresh(ctx, c) })
	}
	k.api = c
	k.batch = client.NewBatch(c, 0)
	k.stream = stream.New(c, stream.Options{Log: k.log.Named("stream")})
	k.recorder = event.NewRecorder(event.Through(c, k.batch), s, "kubelet", event.Options{Host: k.name, Metrics: k.metrics.events, Log: k.log.Named("event")})
	log := k.log.Named("cache")
	mine := client.Selection{Fields: "spec.nodeName=" + k.name}
	if k.pods, err = cache.New(c, k.stream, cache.Options[*corev1.Pod]{Selection: mine, Log: log}); err != nil {
		return err
	}
	if k.nodes, err = cache.New(c, k.stream, cache.Options[*corev1.Node]{Selection: client.Selection{Fields: "metadata.name=" + k.name}, Log: log}); err != nil {
		return err
	}
	if k.services, err = cache.New(c, k.stream, cache.Options[*corev1.Service]{Fields: []string{"spec.clusterIP", "spec.clusterIPs", "spec.ports", "spec.type"}, Log: log}); err != nil {
		return err
	}
	if k.classes, err = cache.New(c, k.stream, cache.Options[*nodev1.RuntimeClass]{Log: log}); err != nil {
		return err
	}
	k.runs = append(k.runs, k.stream.Run, k.batch.Run, k.recorder.Run, k.pods.Run, k.nodes.Run, k.services.Run, k.classes.Run)
	return nil
}

func (k *Kubelet) makeParts(context.Context) error {
	var err error
	if k.reserved, err = reserved(k.cfg, k.host.Capacity(k.f.RootDir, int64(k.maxPods()))); err != nil {
		return err
	}
	o := cgroup.Options{
		Root: k.cfg.CgroupRoot, Driver: k.cfg.CgroupDriver, NoQOS: !*k.cfg.CgroupsPerQOS, PodPIDs: *k.cfg.PodPidsLimit,
		NoCPUQuota: !*k.cfg.CPUCFSQuota, CPUPeriod: k.cfg.CPUCFSPeriod.Duration, Enforce: k.enforced("pods"), Allocatable: k.podLimit(),
	}
	if k.cgroups, err = cgroup.New(o); err != nil {
		return err
	}
	if err := k.cgroups.Setup(); err != nil {
		return fmt.Errorf("make the cgroups of pods: %w", err)
	}
	parallel := 0
	switch {
	case *k.cfg.SerializePulls:
		parallel = 1
	case k.cfg.MaxParallelPulls != nil:
		parallel = int(*k.cfg.MaxParallelPulls)
	}
	pulls := image.Options{Parallel: parallel, PerSecond: int(*k.cfg.RegistryPullQPS), Burst: int(k.cfg.RegistryBurst), Pulled: k.metrics.work.pulled, Node: k.nodeKeys(), Failed: func(err error) { k.log.Warn("no credentials for pulling an image", zap.Error(err)) }}
	if k.f.CredentialConfig != "" {
		if pulls.Programs, err = credential.Load(k.f.CredentialConfig, k.f.CredentialBinDir, credential.Options{Ran: k.programRan}); err != nil {
			return err
		}
	}
	policy := image.Verification(k.cfg.PullVerification)
	if on, given := k.cfg.FeatureGates["KubeletEnsureSecretPulledImages"]; given && !on {
		policy = image.NeverVerify
	}
	if pulls.Records, err = image.OpenRecords(filepath.Join(k.f.RootDir, "image_manager"), policy, k.cfg.PreloadedImages); err != nil {
		return fmt.Errorf("read who pulled which image: %w", err)
	}
	k.images = image.NewPuller(k.runtime.Images, pulls)
	own := users.Options{Pods: filepath.Join(k.f.RootDir, "pods"), Most: int(k.maxPods())}
	if u := k.cfg.UserNamespaces; u != nil && u.IDsPerPod != nil {
		own.Each = *u.IDsPerPod
	}
	if k.users, err = users.New(own); err != nil {
		return err
	}
	if k.devices, err = device.New(device.Options{
		Dir: filepath.Join(k.f.RootDir, "device-plugins"), Changed: func() { k.node.Now() },
		Registered: func(name string) { k.metrics.work.plugins.WithLabelValues(name).Inc() },
		Allocated: func(name string, took time.Duration) {
			k.metrics.work.allocations.WithLabelValues(name).Observe(took.Seconds())
		},
		Log: k.log.Named("device"),
	}); err != nil {
		return err
	}
	lister := &device.Lister{Path: filepath.Join(k.f.RootDir, "pod-resources", "kubelet.sock"), Pods: func() []*corev1.Pod { return k.workers.Active() }, Devices: k.devices}
	k.runs = append(k.runs, k.devices.Run, lister.Run)
	k.objects = object.New(k.api, k.stream, object.Options{Log: k.log.Named("object"), OnChange: func(key object.Key, users []types.UID) {
		for _, uid := range users {
			k.workers.Retry(uid, func(pod *corev1.Pod) []string { return object.Readers(pod, key) })
		}
	}})
	k.volumes = volume.New(volume.Options{
		RootDir: k.f.RootDir, Node: k.name, API: k.api, Objects: k.objects, NodeObject: func() *corev1.Node { return k.node.Object() },
		RecursiveReadOnly: k.recursiveReadOnly, Image: k.volumeImage, Mounted: k.metrics.work.stored, Log: k.log.Named("volume"),
	})
	k.runs = append(k.runs, k.volumes.Run)
	if k.api != nil {
		k.runs = append(k.runs, k.objects.Run)
	}
	return nil
}

// Run runs the kubelet until ctx ends. Containers go on without it.
func (k *Kubelet) Run(ctx context.Context) error {
	k.event(corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	if k.enforced("pods") { // done by now, or there would be no kubelet
		k.event(corev1.EventTypeNormal, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
	}
	if err := daemon.Notify("READY=1"); err != nil {
		k.log.Warn("the service manager can't be told", zap.Error(err))
	}
	return daemon.Run(ctx, k.runs...)
}

func (k *Kubelet) maxPods() int32 {
	n := k.cfg.MaxPods
	if k.cfg.PodsPerCore > 0 {
		n = min(n, k.cfg.PodsPerCore*int32(k.host.CPUs))
	}
	return n
}

func (k *Kubelet) enforced(what string) bool {
	for _, e := range k.cfg.EnforceAllocatable {
		if e == what {
			return true
		}
	}
	return false
}

// recursiveReadOnly reports what a handler of the runtime can do.
func (k *Kubelet) recursiveReadOnly(handler string) bool {
	for _, h := range k.health.Load().Handlers {
		if h.Name == handler {
			return h.GetFeatures().GetRecursiveReadOnlyMounts()
		}
	}
	return false
}
