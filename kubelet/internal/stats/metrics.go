package stats

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"xebec.dev/kubelet/internal/cgroup"
)

// gather makes a Gatherer of a function that sends metrics each time.
func gather(collect func(ch chan<- prometheus.Metric)) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		r := prometheus.NewRegistry()
		if err := r.Register(collector(collect)); err != nil {
			return nil, err
		}
		return r.Gather()
	})
}

// collector does not say before what it sends: that depends on the pods.
type collector func(ch chan<- prometheus.Metric)

func (collector) Describe(chan<- *prometheus.Desc)      {}
func (c collector) Collect(ch chan<- prometheus.Metric) { c(ch) }

// series is a metric with labels.
type series struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newSeries(kind prometheus.ValueType, name, help string, labels ...string) series {
	return series{prometheus.NewDesc(name, help, labels, nil), kind}
}

func counter(name, help string, labels ...string) series {
	return newSeries(prometheus.CounterValue, name, help, labels...)
}

func gauge(name, help string, labels ...string) series {
	return newSeries(prometheus.GaugeValue, name, help, labels...)
}

// valid makes a label of text from elsewhere.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (s series) send(ch chan<- prometheus.Metric, at time.Time, v float64, labels ...string) {
	for i := range labels {
		labels[i] = valid(labels[i])
	}
	m, err := prometheus.NewConstMetric(s.desc, s.kind, v, labels...)
	if err != nil {
		panic(err) // as many labels as the series has: a fault of this file
	}
	if !at.IsZero() {
		m = prometheus.NewMetricWithTimestamp(at, m)
	}
	ch <- m
}

const second = float64(time.Second)

var (
	nodeCPU          = counter("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds")
	nodeMemoryUse    = gauge("node_memory_working_set_bytes", "Current working set of the node in bytes")
	nodeSwapUse      = gauge("node_swap_usage_bytes", "Current swap usage of the node in bytes. Reported only on non-windows systems")
	podCPU           = counter("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", "pod", "namespace")
	podMemory        = gauge("pod_memory_working_set_bytes", "Current working set of the pod in bytes", "pod", "namespace")
	podSwap          = gauge("pod_swap_usage_bytes", "Current amount of the pod swap usage in bytes. Reported only on non-windows systems", "pod", "namespace")
	containerCPU     = counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", "container", "pod", "namespace")
	containerMemory  = gauge("container_memory_working_set_bytes", "Current working set of the container in bytes", "container", "pod", "namespace")
	containerSwap    = gauge("container_swap_usage_bytes", "Current amount of the container swap usage in bytes. Reported only on non-windows systems", "container", "pod", "namespace")
	containerStarted = gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds", "container", "pod", "namespace")
	resourceError    = gauge("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise")
)

// Resource are the metrics of /metrics/resource, which autoscalers read.
func (c *Collector) Resource() prometheus.Gatherer { return gather(c.resource) }

func (c *Collector) resource(ch chan<- prometheus.Metric) {
	root, err := c.o.Cgroups.Usage("/")
	if err != nil {
		resourceError.send(ch, time.Time{}, 1)
		return
	}
	nodeCPU.send(ch, root.Time, float64(root.CPU)/second)
	nodeMemoryUse.send(ch, root.Time, float64(root.WorkingSet))
	nodeSwapUse.send(ch, root.Time, float64(*nodeSwap(root.Time).SwapUsageBytes))
	for _, s := range c.sample(false) {
		pod, namespace := s.pod.Name, s.pod.Namespace
		podCPU.send(ch, s.usage.Time, float64(s.usage.CPU)/second, pod, namespace)
		podMemory.send(ch, s.usage.Time, float64(s.usage.WorkingSet), pod, namespace)
		podSwap.send(ch, s.usage.Time, float64(s.usage.Swap), pod, namespace)
		for i := range s.containers {
			k := &s.containers[i]
			containerCPU.send(ch, k.usage.Time, float64(k.usage.CPU)/second, k.name, pod, namespace)
			containerMemory.send(ch, k.usage.Time, float64(k.usage.WorkingSet), k.name, pod, namespace)
			containerSwap.send(ch, k.usage.Time, float64(k.usage.Swap), k.name, pod, namespace)
			containerStarted.send(ch, k.usage.Time, float64(k.started.UnixNano())/second, k.name, pod, namespace)
		}
	}
	resourceError.send(ch, time.Time{}, 0)
}

// Labels of cadvisor's series: of what group they are.
var group = []string{"container", "id", "image", "name", "namespace", "pod"}

func with(labels ...string) []string { return append(labels, group...) }

// plain are the series with a group's labels alone.
var plain = []struct {
	series
	of func(u *cgroup.Usage) float64
}{
	{counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", group...), func(u *cgroup.Usage) float64 { return float64(u.CPUUser) / second }},
	{counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", group...), func(u *cgroup.Usage) float64 { return float64(u.CPUSystem) / second }},
	{gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", group...), func(u *cgroup.Usage) float64 { return float64(u.Memory) }},
	{gauge("container_memory_working_set_bytes", "Current working set in bytes.", group...), func(u *cgroup.Usage) float64 { return float64(u.WorkingSet) }},
	{gauge("container_memory_rss", "Size of RSS in bytes.", group...), func(u *cgroup.Usage) float64 { return float64(u.RSS) }},
	{gauge("container_memory_cache", "Number of bytes of page cache memory.", group...), func(u *cgroup.Usage) float64 { return float64(u.Cache) }},
	{gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.", group...), func(u *cgroup.Usage) float64 { return float64(u.MappedFile) }},
	{gauge("container_memory_swap", "Container swap usage in bytes.", group...), func(u *cgroup.Usage) float64 { return float64(u.Swap) }},
	{gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", group...), func(u *cgroup.Usage) float64 { return float64(u.MaxMemory) }},
	{counter("container_memory_failcnt", "Number of memory usage hits limits", group...), func(u *cgroup.Usage) float64 { return float64(u.MemoryFailures) }},
	{counter("container_oom_events_total", "Count of out of memory events observed for the container", group...), func(u *cgroup.Usage) float64 { return float64(u.OOMKills) }},
	{gauge("container_processes", "Number of processes running inside the container.", group...), func(u *cgroup.Usage) float64 { return float64(u.Processes) }},
	{gauge("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero", group...), func(u *cgroup.Usage) float64 { return float64(u.ProcessLimit) }},
	{gauge("container_spec_cpu_shares", "CPU share of the container.", group...), func(u *cgroup.Usage) float64 { return float64(u.CPUShares) }},
	{gauge("container_spec_memory_limit_bytes", "Memory limit for the container.", group...), func(u *cgroup.Usage) float64 { return float64(u.MemoryLimit) }},
	{gauge("container_last_seen", "Last time a container was seen by the exporter", group...), func(u *cgroup.Usage) float64 { return float64(u.Time.Unix()) }},
}

var (
	cpuTotal        = counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", with("cpu")...)
	cfsPeriods      = counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", group...)
	cfsThrottled    = counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", group...)
	cfsSeconds      = counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", group...)
	specQuota       = gauge("container_spec_cpu_quota", "CPU quota of the container.", group...)
	specPeriod      = gauge("container_spec_cpu_period", "CPU period of the container.", group...)
	memoryFailures  = counter("container_memory_failures_total", "Cumulative count of memory allocation failures.", with("failure_type", "scope")...)
	groupStarted    = gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", group...)
	fsReadBytes     = counter("container_fs_reads_bytes_total", "Cumulative count of bytes read", with("device")...)
	fsWriteBytes    = counter("container_fs_writes_bytes_total", "Cumulative count of bytes written", with("device")...)
	fsReads         = counter("container_fs_reads_total", "Cumulative count of reads completed", with("device")...)
	fsWrites        = counter("container_fs_writes_total", "Cumulative count of writes completed", with("device")...)
	fsUsage         = gauge("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", with("device")...)
	fsLimit         = gauge("container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.", with("device")...)
	receiveBytes    = counter("container_network_receive_bytes_total", "Cumulative count of bytes received", with("interface")...)
	receiveErrors   = counter("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", with("interface")...)
	receiveDropped  = counter("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", with("interface")...)
	receivePackets  = counter("container_network_receive_packets_total", "Cumulative count of packets received", with("interface")...)
	transmitBytes   = counter("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", with("interface")...)
	transmitErrors  = counter("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", with("interface")...)
	transmitDropped = counter("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", with("interface")...)
	transmitPackets = counter("container_network_transmit_packets_total", "Cumulative count of packets transmitted", with("interface")...)
	machineCores    = gauge("machine_cpu_cores", "Number of logical CPU cores.")
	machineMemory   = gauge("machine_memory_bytes", "Amount of memory installed on the machine.")
	cadvisorError   = gauge("container_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise")
)

var pressures = []string{"cpu", "io", "memory"}

func pressureSeries(of, kind string) series {
	return counter("container_pressure_"+of+"_"+kind+"_seconds_total", "Total time duration tasks in the container have been "+kind+" due to "+of+" congestion.", group...)
}

// Cadvisor are the metrics of /metrics/cadvisor by the names that dashboards
// know.
func (c *Collector) Cadvisor() prometheus.Gatherer { return gather(c.cadvisor) }

func (c *Collector) cadvisor(ch chan<- prometheus.Metric) {
	machineCores.send(ch, time.Time{}, float64(runtime.NumCPU()))
	machineMemory.send(ch, time.Time{}, float64(MemoryCapacity()))
	failed := 0.0
	for _, path := range append([]string{"/", c.o.Cgroups.AllPods()}, c.o.Cgroups.Classes()...) {
		u, err := c.o.Cgroups.Usage(path)
		if err != nil {
			failed = 1
			continue
		}
		sendGroup(ch, &u, u.Created, []string{"", path, "", "", "", ""})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	files := c.files(ctx)
	for _, s := range c.sample(true) {
		labels := []string{"", s.path, "", "", s.pod.Namespace, s.pod.Name}
		sendGroup(ch, &s.usage, s.usage.Created, labels)
		for i := range s.network {
			sendInterface(ch, &s.network[i], s.usage.Time, labels)
		}
		for i := range s.containers {
			k := &s.containers[i]
			labels := []string{k.name, k.path, k.image, k.id, s.pod.Namespace, s.pod.Name}
			sendGroup(ch, &k.usage, k.started, labels)
			if l := files.layers[k.id]; l != nil {
				device := append([]string{l.GetFsId().GetMountpoint()}, labels...)
				fsUsage.send(ch, k.usage.Time, float64(l.GetUsedBytes().GetValue()), device...)
				if fs := files.runtime.ContainerFs; fs != nil {
					fsLimit.send(ch, k.usage.Time, float64(*fs.CapacityBytes), device...)
				}
			}
		}
	}
	cadvisorError.send(ch, time.Time{}, failed)
}

func sendGroup(ch chan<- prometheus.Metric, u *cgroup.Usage, started time.Time, labels []string) {
	for _, p := range plain {
		p.send(ch, u.Time, p.of(u), labels...)
	}
	groupStarted.send(ch, u.Time, float64(started.Unix()), labels...)
	cpuTotal.send(ch, u.Time, float64(u.CPU)/second, append([]string{"total"}, labels...)...)
	if u.CPUPeriod > 0 {
		specPeriod.send(ch, u.Time, float64(u.CPUPeriod), labels...)
	}
	if u.CPUQuota > 0 {
		specQuota.send(ch, u.Time, float64(u.CPUQuota), labels...)
		cfsPeriods.send(ch, u.Time, float64(u.Periods), labels...)
		cfsThrottled.send(ch, u.Time, float64(u.ThrottledPeriods), labels...)
		cfsSeconds.send(ch, u.Time, float64(u.Throttled)/second, labels...)
	}
	for kind, n := range map[string]uint64{"pgfault": u.PageFaults, "pgmajfault": u.MajorPageFaults} {
		memoryFailures.send(ch, u.Time, float64(n), append([]string{kind, "container"}, labels...)...)
	}
	for device, d := range u.Devices {
		l := append([]string{device}, labels...)
		fsReadBytes.send(ch, u.Time, float64(d.ReadBytes), l...)
		fsWriteBytes.send(ch, u.Time, float64(d.WriteBytes), l...)
		fsReads.send(ch, u.Time, float64(d.Reads), l...)
		fsWrites.send(ch, u.Time, float64(d.Writes), l...)
	}
	for _, of := range pressures {
		if p, ok := u.Pressure[of]; ok {
			pressureSeries(of, "waiting").send(ch, u.Time, float64(p.Some.Total)/1e6, labels...)
			pressureSeries(of, "stalled").send(ch, u.Time, float64(p.Full.Total)/1e6, labels...)
		}
	}
}

func sendInterface(ch chan<- prometheus.Metric, i *InterfaceStats, at time.Time, labels []string) {
	l := append([]string{i.Name}, labels...)
	for _, x := range []struct {
		s series
		v uint64
	}{
		{receiveBytes, *i.RxBytes}, {receiveErrors, *i.RxErrors}, {receivePackets, i.rxPackets}, {receiveDropped, i.rxDropped},
		{transmitBytes, *i.TxBytes}, {transmitErrors, *i.TxErrors}, {transmitPackets, i.txPackets}, {transmitDropped, i.txDropped},
	} {
		x.s.send(ch, at, float64(x.v), l...)
	}
}
