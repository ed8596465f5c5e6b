package kubelet

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/stats"
)

// workMetrics count what the kubelet does, by the names that dashboards and
// alerts of Kubernetes know.
type workMetrics struct {
	worker, cgroups, pulls, storage, relistInterval                     *prometheus.HistogramVec
	containers, containerErrors, podErrors, refused, preempted, deleted *prometheus.CounterVec
	served                                                              *prometheus.CounterVec
	servedTook                                                          *prometheus.HistogramVec
	serving                                                             *prometheus.GaugeVec
	plugins                                                             *prometheus.CounterVec
	allocations                                                         *prometheus.HistogramVec
}

func newWorkMetrics() workMetrics {
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	slow := []float64{.1, .25, .5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return workMetrics{
		worker:          histogram("kubelet_pod_worker_duration_seconds", "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync", buckets, "operation_type"),
		cgroups:         histogram("kubelet_cgroup_manager_duration_seconds", "Duration in seconds for cgroup manager operations. Broken down by method.", buckets, "operation_type"),
		pulls:           histogram("kubelet_image_pull_duration_seconds", "Duration in seconds to pull an image.", []float64{1, 5, 10, 20, 30, 60, 180, 300, 600, 900, 1200, 1800, 2700, 3600}, "image_size_in_bytes"),
		storage:         histogram("storage_operation_duration_seconds", "Storage operation duration", slow, "volume_plugin", "operation_name", "status", "migrated"),
		relistInterval:  histogram("kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG.", buckets),
		containers:      counter("kubelet_started_containers_total", "Cumulative number of containers started", "container_type"),
		containerErrors: counter("kubelet_started_containers_errors_total", "Cumulative number of errors when starting containers", "container_type", "code"),
		podErrors:       counter("kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods"),
		refused:         counter("kubelet_admission_rejections_total", "Cumulative number pod admission rejections by the Kubelet.", "reason"),
		preempted:       counter("kubelet_preemptions", "Cumulative number of pod preemptions by preemption resource", "preemption_signal"),
		deleted:         counter("kubelet_image_garbage_collected_total", "Total number of images garbage collected by the kubelet, whether through disk usage or image age.", "reason"),
		served:          counter("kubelet_http_requests_total", "Number of the http requests received since the server started", "method", "path", "server_type", "long_running"),
		servedTook:      histogram("kubelet_http_requests_duration_seconds", "Duration in seconds to serve http requests", buckets, "method", "path", "server_type", "long_running"),
		plugins:         counter("kubelet_device_plugin_registration_total", "Cumulative number of device plugin registrations. Broken down by resource name.", "resource_name"),
		allocations:     histogram("kubelet_device_plugin_alloc_duration_seconds", "Duration in seconds to serve a device plugin Allocation request. Broken down by resource name.", buckets, "resource_name"),
		serving:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_http_inflight_requests", Help: "Number of the inflight http requests"}, []string{"method", "path", "server_type", "long_running"}),
	}
}

func (m *workMetrics) register(r *prometheus.Registry) {
	m.podErrors.WithLabelValues()
	m.relistInterval.WithLabelValues()
	r.MustRegister(m.worker, m.cgroups, m.pulls, m.storage, m.relistInterval, m.containers, m.containerErrors, m.podErrors, m.refused, m.preempted, m.deleted, m.served, m.servedTook, m.serving, m.plugins, m.allocations)
}

// containerTypes are the metrics' words for kinds of containers.
var containerTypes = map[string]string{"container": "container", "init": "init_container", "sidecar": "init_container", "ephemeral": "ephemeral_container", "pod_sandbox": "pod_sandbox"}

// ran counts an attempt to start a container or a sandbox.
func (m *workMetrics) ran(_ *corev1.Pod, kind, failure string) {
	kind = containerTypes[kind]
	m.containers.WithLabelValues(kind).Inc()
	if failure == "" {
		return
	}
	m.containerErrors.WithLabelValues(kind, failure).Inc()
	if kind == "pod_sandbox" {
		m.podErrors.WithLabelValues().Inc()
	}
}

func (m *workMetrics) worked(what string, took time.Duration) {
	m.worker.WithLabelValues(what).Observe(took.Seconds())
}

// pulled counts a pull by the size of its image.
func (m *workMetrics) pulled(size uint64, took time.Duration) {
	m.pulls.WithLabelValues(sizeClass(size)).Observe(took.Seconds())
}

// sizeClass is the metrics' word for the size of an image, in bytes.
func sizeClass(size uint64) string {
	const mega, giga = 1 << 20, 1 << 30
	for _, c := range []struct {
		under uint64
		name  string
	}{
		{10 * mega, "0-10MB"}, {100 * mega, "10MB-100MB"}, {500 * mega, "100MB-500MB"}, {giga, "500MB-1GB"}, {5 * giga, "1GB-5GB"},
		{10 * giga, "5GB-10GB"}, {20 * giga, "10GB-20GB"}, {30 * giga, "20GB-30GB"}, {40 * giga, "30GB-40GB"}, {60 * giga, "40GB-60GB"}, {100 * giga, "60GB-100GB"},
	} {
		if size < c.under {
			return c.name
		}
	}
	return "GT100GB"
}

// stored counts an operation on a volume.
func (m *workMetrics) stored(plugin, operation string, took time.Duration, err error) {
	result := "success"
	if err != nil {
		result = "fail-unknown"
	}
	m.storage.WithLabelValues(plugin, operation, result, "false").Observe(took.Seconds())
}

// standing are the metrics of what is so at the moment, looked up when they
// are asked for.
type standing struct{ k *Kubelet }

var (
	volumeStats = map[string]*prometheus.Desc{
		"capacity":  volumeDesc("capacity_bytes", "Capacity in bytes of the volume"),
		"available": volumeDesc("available_bytes", "Number of available bytes in the volume"),
		"used":      volumeDesc("used_bytes", "Number of used bytes in the volume"),
		"inodes":    volumeDesc("inodes", "Maximum number of inodes in the volume"),
		"free":      volumeDesc("inodes_free", "Number of free inodes in the volume"),
		"iused":     volumeDesc("inodes_used", "Number of used inodes in the volume"),
	}
	totalVolumes  = prometheus.NewDesc("volume_manager_total_volumes", "Number of volumes in Volume Manager", []string{"plugin_name", "state"}, nil)
	activePods    = prometheus.NewDesc("kubelet_active_pods", "The number of pods the kubelet considers active and which are being considered when admitting new pods. static is true if the pod is not from the apiserver.", []string{"static"}, nil)
	desiredPods   = prometheus.NewDesc("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.", []string{"static"}, nil)
	mirrorPods    = prometheus.NewDesc("kubelet_mirror_pods", "The number of mirror pods the kubelet will try to create (one per admitted static pod)", nil, nil)
	ephemerals    = prometheus.NewDesc("kubelet_managed_ephemeral_containers", "Current number of ephemeral containers in pods managed by this kubelet.", nil, nil)
	lastSeen      = prometheus.NewDesc("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.", nil, nil)
	clientTTL     = prometheus.NewDesc("kubelet_certificate_manager_client_ttl_seconds", "Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds until certificate expiry (negative if already expired). If client certificate is invalid or unused, the value will be +INF.", nil, nil)
	clientErrors  = prometheus.NewDesc("kubelet_certificate_manager_client_expiration_renew_errors", "Counter of certificate renewal errors.", nil, nil)
	serverTTL     = prometheus.NewDesc("kubelet_certificate_manager_server_ttl_seconds", "Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is in seconds until certificate expiry (negative if already expired). If serving certificate is invalid or unused, the value will be +INF.", nil, nil)
	serverErrors  = prometheus.NewDesc("kubelet_server_expiration_renew_errors", "Counter of certificate renewal errors.", nil, nil)
	scrapeTimeout = 5 * time.Second
)

func volumeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("kubelet_volume_stats_"+name, help, []string{"namespace", "persistentvolumeclaim"}, nil)
}

// Describe says nothing: what there is depends on the pods.
func (*standing) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *standing) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s.pods(gauge)
	s.certificates(gauge, ch)
	for plugin, n := range s.k.volumes.Count() {
		gauge(totalVolumes, float64(n.Desired), plugin, "desired_state_of_world")
		gauge(totalVolumes, float64(n.Actual), plugin, "actual_state_of_world")
	}
	if _, silent := s.k.pleg.Healthy(); silent > 0 {
		gauge(lastSeen, float64(time.Now().Add(-silent).Unix()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	if !s.claims() {
		return // measuring is not for nothing
	}
	if sum, err := s.k.stats.Summary(ctx, false); err == nil {
		sendVolumes(sum, gauge)
	}
}

// claims reports whether a pod has volumes of claims.
func (s *standing) claims() bool {
	return slices.ContainsFunc(s.k.workers.List(), func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil || v.Ephemeral != nil })
	})
}

// sendVolumes sends the figures of claims' volumes, once for each claim.
func sendVolumes(sum *stats.Summary, gauge func(*prometheus.Desc, float64, ...string)) {
	done := map[stats.PVCReference]bool{}
	for i := range sum.Pods {
		for j := range sum.Pods[i].VolumeStats {
			v := &sum.Pods[i].VolumeStats[j]
			if v.PVCRef == nil || done[*v.PVCRef] {
				continue
			}
			done[*v.PVCRef] = true
			for name, n := range map[string]*uint64{"capacity": v.CapacityBytes, "available": v.AvailableBytes, "used": v.UsedBytes, "inodes": v.Inodes, "free": v.InodesFree, "iused": v.InodesUsed} {
				if n != nil {
					gauge(volumeStats[name], float64(*n), v.PVCRef.Namespace, v.PVCRef.Name)
				}
			}
		}
	}
}

func (s *standing) pods(gauge func(*prometheus.Desc, float64, ...string)) {
	words := map[bool]string{true: "true", false: "false"}
	desired, active := map[bool]int{}, map[bool]int{}
	debugging := 0
	for _, p := range s.k.workers.List() {
		desired[runtime.IsStatic(p)]++
		debugging += len(p.Spec.EphemeralContainers)
	}
	for _, p := range s.k.workers.Active() {
		active[runtime.IsStatic(p)]++
	}
	for static, word := range words {
		gauge(desiredPods, float64(desired[static]), word)
		gauge(activePods, float64(active[static]), word)
	}
	gauge(ephemerals, float64(debugging))
	if s.k.pods != nil {
		gauge(mirrorPods, float64(len(s.k.mirrorPods())))
	}
}

func (s *standing) certificates(gauge func(*prometheus.Desc, float64, ...string), ch chan<- prometheus.Metric) {
	ttl := func(of func() (time.Time, int64, bool), left, errs *prometheus.Desc) {
		until, failures, known := of()
		seconds := math.Inf(1)
		if known {
			seconds = time.Until(until).Seconds()
		}
		gauge(left, seconds)
		ch <- prometheus.MustNewConstMetric(errs, prometheus.CounterValue, float64(failures))
	}
	if s.k.identity != nil {
		ttl(s.k.identity.Until, clientTTL, clientErrors)
	}
	if s.k.serving != nil {
		ttl(s.k.serving.Until, serverTTL, serverErrors)
	}
}

// request counts a request to the kubelet.
func (m *workMetrics) request(method, path string, long bool) (ended func()) {
	running := "false"
	if long {
		running = "true"
	}
	switch method {
	case "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS":
	default:
		method = "other" // anybody can make methods up
	}
	labels := []string{method, path, "readwrite", running}
	m.served.WithLabelValues(labels...).Inc()
	m.serving.WithLabelValues(labels...).Inc()
	began := time.Now()
	return func() {
		m.serving.WithLabelValues(labels...).Dec()
		m.servedTook.WithLabelValues(labels...).Observe(time.Since(began).Seconds())
	}
}
