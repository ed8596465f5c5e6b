// Package podresources tells at /metrics/resources what each pod asks for and
// may take, as the scheduler counts it.
package podresources

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/core"
)

var (
	labels      = []string{"namespace", "pod", "node", "scheduler", "priority", "resource", "unit"}
	requestDesc = prometheus.NewDesc("kube_pod_resource_request", "Resources requested by workloads on the cluster, broken down by pod. This shows the resource usage the scheduler and kubelet expect per pod for resources along with the unit for the resource if any.", labels, nil)
	limitDesc   = prometheus.NewDesc("kube_pod_resource_limit", "Resources limit for workloads on the cluster, broken down by pod. This shows the resource usage the scheduler and kubelet expect per pod for resources along with the unit for the resource if any.", labels, nil)
)

// collector reads the pods anew each time.
type collector struct{ pods func() []*corev1.Pod }

// Handler serves the metrics of pods, which are not changed.
func Handler(pods func() []*corev1.Pod) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{pods})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestDesc
	ch <- limitDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.pods() {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		requests, limits := resources(p)
		tell(ch, requestDesc, p, requests)
		tell(ch, limitDesc, p, limits)
	}
}

// resources are a pod's as its spec says: containers and the init rule, what
// is stated for the pod as a whole, overhead. Overhead is no limit by itself.
func resources(p *corev1.Pod) (requests, limits corev1.ResourceList) {
	requests, limits = core.ContainerRequests(&p.Spec), core.ContainerLimits(&p.Spec)
	if whole := p.Spec.Resources; whole != nil {
		for name, q := range whole.Requests {
			requests[name] = q
		}
		for name, q := range whole.Limits {
			limits[name] = q
		}
	}
	for name, q := range p.Spec.Overhead {
		requests[name] = sum(requests[name], q)
		if have, ok := limits[name]; ok && !have.IsZero() {
			limits[name] = sum(have, q)
		}
	}
	return requests, limits
}

func sum(a, b resource.Quantity) resource.Quantity {
	out := a.DeepCopy()
	out.Add(b)
	return out
}

func tell(ch chan<- prometheus.Metric, desc *prometheus.Desc, p *corev1.Pod, list corev1.ResourceList) {
	priority := ""
	if p.Spec.Priority != nil {
		priority = strconv.Itoa(int(*p.Spec.Priority))
	}
	for name, q := range list {
		unit, known := unitOf(name)
		v := q.AsApproximateFloat64()
		if name == corev1.ResourceCPU {
			v = float64(q.MilliValue()) / 1000
		}
		if known && v != 0 {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v,
				p.Namespace, p.Name, p.Spec.NodeName, p.Spec.SchedulerName, priority, string(name), unit)
		}
	}
}

// unitOf a resource; false for one that is not told.
func unitOf(name corev1.ResourceName) (unit string, known bool) {
	switch {
	case name == corev1.ResourceCPU:
		return "cores", true
	case name == corev1.ResourceMemory || name == corev1.ResourceStorage || name == corev1.ResourceEphemeralStorage,
		strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
		return "bytes", true
	case strings.HasPrefix(string(name), corev1.ResourceAttachableVolumesPrefix):
		return "integer", true
	}
	// Others are extended ones, which have a domain of their own.
	domain, _, qualified := strings.Cut(string(name), "/")
	return "integer", qualified && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}
