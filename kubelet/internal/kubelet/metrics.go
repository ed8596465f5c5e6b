package kubelet

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client/event"
	"xebec.dev/kubelet/internal/probe"
)

// metrics are the kubelet's own, by Kubernetes' names.
type metrics struct {
	podStart    prometheus.Histogram
	relist      prometheus.Histogram
	pods        prometheus.GaugeFunc
	containers  prometheus.GaugeFunc
	probes      *prometheus.CounterVec
	events      *event.Metrics
	nodeName    *prometheus.GaugeVec
	evictions   *prometheus.CounterVec
	operations  *prometheus.HistogramVec
	operErrors  *prometheus.CounterVec
	operCounts  *prometheus.CounterVec
	startedPods prometheus.Counter
	programs    *prometheus.HistogramVec
	programErrs *prometheus.CounterVec

	shutdownBegan, shutdownEnded prometheus.Gauge

	probeTook *prometheus.HistogramVec
	work      workMetrics
}

func (k *Kubelet) makeMetrics(context.Context) error {
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 120, 300}
	m := &k.metrics
	m.podStart = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pod_start_duration_seconds", Help: "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run", Buckets: buckets})
	m.relist = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pleg_relist_duration_seconds", Help: "Duration in seconds for relisting pods in PLEG.", Buckets: buckets})
	m.pods = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kubelet_running_pods", Help: "Number of pods that have a running pod sandbox"}, func() float64 { return float64(k.count(true)) })
	m.containers = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kubelet_running_containers", Help: "Number of containers currently running", ConstLabels: prometheus.Labels{"container_state": "running"}}, func() float64 { return float64(k.count(false)) })
	m.nodeName = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_node_name", Help: "The node's name. The count is always 1."}, []string{"node"})
	m.nodeName.WithLabelValues(k.name).Set(1)
	m.evictions = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_evictions", Help: "Cumulative number of pod evictions by eviction signal"}, []string{"eviction_signal"})
	m.startedPods = prometheus.NewCounter(prometheus.CounterOpts{Name: "kubelet_started_pods_total", Help: "Cumulative number of pods started"})
	m.operCounts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_runtime_operations_total", Help: "Cumulative number of runtime operations by operation type."}, []string{"operation_type"})
	m.operErrors = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_runtime_operations_errors_total", Help: "Cumulative number of runtime operation errors by operation type."}, []string{"operation_type"})
	m.operations = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kubelet_runtime_operations_duration_seconds", Help: "Duration in seconds of runtime operations. Broken down by operation type.", Buckets: buckets}, []string{"operation_type"})
	m.programs = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kubelet_credential_provider_plugin_duration", Help: "Duration of execution in seconds for credential provider plugin", Buckets: prometheus.DefBuckets}, []string{"plugin_name"})
	m.programErrs = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_credential_provider_plugin_errors_total", Help: "Number of errors from credential provider plugin"}, []string{"plugin_name"})
	m.shutdownBegan = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_graceful_shutdown_start_time_seconds", Help: "Last graceful shutdown start time since unix epoch in seconds"})
	m.shutdownEnded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubelet_graceful_shutdown_end_time_seconds", Help: "Last graceful shutdown end time since unix epoch in seconds"})
	m.events = event.NewMetrics()
	k.p.Registry.MustRegister(m.podStart, m.relist, m.pods, m.containers, m.nodeName, m.evictions, m.startedPods, m.operCounts, m.operErrors, m.operations, m.programs, m.programErrs, m.shutdownBegan, m.shutdownEnded, m.events.CounterVec)
	m.probes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prober_probe_total", Help: "Cumulative number of a liveness, readiness or startup probe for a container by result."},
		[]string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"})
	k.probeMetrics = prometheus.NewRegistry()
	m.probeTook = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "prober_probe_duration_seconds", Help: "Duration in seconds for a probe response."}, []string{"probe_type", "container", "pod", "namespace"})
	k.probeMetrics.MustRegister(m.probes, m.probeTook)
	m.work = newWorkMetrics()
	m.work.register(k.p.Registry)
	k.p.Registry.MustRegister(&standing{k})
	return nil
}

// count is of sandboxes, or of containers, that run.
func (k *Kubelet) count(sandboxes bool) int {
	n := 0
	for _, pod := range k.workers.List() {
		seen := k.workers.Observed(pod.UID)
		if seen == nil {
			continue
		}
		if sandboxes {
			if s := seen.Sandbox(); s != nil && s.Ready {
				n++
			}
			continue
		}
		for _, c := range seen.Containers {
			if !c.Finished.IsZero() || c.Started.IsZero() {
				continue
			}
			n++
		}
	}
	return n
}

func (k *Kubelet) probed(kind probe.Kind, result probe.Result, pod *corev1.Pod, container string) {
	k.metrics.probes.WithLabelValues(string(kind), string(result), container, pod.Name, pod.Namespace, string(pod.UID)).Inc()
}

func (k *Kubelet) probeTook(kind probe.Kind, pod *corev1.Pod, container string, took time.Duration) {
	k.metrics.probeTook.WithLabelValues(string(kind), container, pod.Name, pod.Namespace).Observe(took.Seconds())
}

// listed counts listings of the runtime, and the times between them.
func (k *Kubelet) listed() func(time.Duration, error) {
	var last time.Time
	return func(took time.Duration, _ error) {
		k.metrics.relist.Observe(took.Seconds())
		if !last.IsZero() {
			k.metrics.work.relistInterval.WithLabelValues().Observe(time.Since(last).Seconds())
		}
		last = time.Now()
	}
}

// called counts a call of the runtime.
func (k *Kubelet) called(operation string, took time.Duration, err error) {
	k.metrics.operCounts.WithLabelValues(operation).Inc()
	k.metrics.operations.WithLabelValues(operation).Observe(took.Seconds())
	if err != nil {
		k.metrics.operErrors.WithLabelValues(operation).Inc()
	}
}

// programRan counts a run of a program that gives credentials.
func (k *Kubelet) programRan(name string, took time.Duration, err error) {
	k.metrics.programs.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		k.metrics.programErrs.WithLabelValues(name).Inc()
	}
}
