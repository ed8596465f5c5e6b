package config

import (
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Default directories and times.
const (
	defaultEndpoint = "unix:///run/containerd/containerd.sock"
	defaultResolv   = "/etc/resolv.conf"
	defaultLogs     = "/var/log/pods"
	resolvedResolv  = "/run/systemd/resolve/resolv.conf"
)

func or[T comparable](dst *T, value T) {
	var zero T
	if *dst == zero {
		*dst = value
	}
}

func orPtr[T any](dst **T, value T) {
	if *dst == nil {
		*dst = &value
	}
}

func orTime(dst *metav1.Duration, d time.Duration) { or(&dst.Duration, d) }

// SetDefaults fills in what was left out, as Kubernetes does.
func (k *Kubelet) SetDefaults() {
	k.servingDefaults()
	k.nodeDefaults()
	k.resourceDefaults()
	k.podDefaults()
}

func (k *Kubelet) servingDefaults() {
	orPtr(&k.EnableServer, true)
	or(&k.Address, "0.0.0.0")
	or(&k.Port, 10250)
	orPtr(&k.Authentication.Anonymous.Enabled, false)
	orPtr(&k.Authentication.Webhook.Enabled, true)
	orTime(&k.Authentication.Webhook.CacheTTL, 2*time.Minute)
	or(&k.Authorization.Mode, "Webhook")
	orTime(&k.Authorization.Webhook.AllowTTL, 5*time.Minute)
	orTime(&k.Authorization.Webhook.DenyTTL, 30*time.Second)
	orPtr(&k.DebugHandlers, true)
	orPtr(&k.HealthzPort, 10248)
	or(&k.HealthzAddress, "127.0.0.1")
	orTime(&k.StreamIdle, 4*time.Hour)
	orPtr(&k.SystemLogHandler, true)
	orPtr(&k.SystemLogQuery, false)
	orPtr(&k.Profiling, true)
	orPtr(&k.DebugFlags, true)
	or(&k.Logging.Format, "text")
}

func (k *Kubelet) nodeDefaults() {
	orTime(&k.SyncFrequency, time.Minute)
	orTime(&k.FileCheck, 20*time.Second)
	orTime(&k.HTTPCheck, 20*time.Second)
	if k.StatusReport.Duration == 0 {
		k.StatusReport.Duration = 5 * time.Minute
		if k.StatusUpdate.Duration > 0 { // one who only set the first means both
			k.StatusReport = k.StatusUpdate
		}
	}
	orTime(&k.StatusUpdate, 10*time.Second)
	or(&k.LeaseSeconds, 40)
	orPtr(&k.StatusMaxImages, 50)
	orPtr(&k.RegisterNode, true)
	orPtr(&k.OOMScoreAdj, -999)
	orPtr(&k.EventQPS, 50)
	or(&k.EventBurst, 100)
	orPtr(&k.KubeAPIQPS, 50)
	or(&k.KubeAPIBurst, 100)
	or(&k.ContentType, "application/vnd.kubernetes.protobuf")
	or(&k.RuntimeEndpoint, defaultEndpoint)
	orTime(&k.RuntimeTimeout, 2*time.Minute)
	orPtr(&k.FailSwapOn, true)
	orPtr(&k.FailCgroupV1, false) // this kubelet knows both versions
	or(&k.MaxOpenFiles, 1000000)
	or(&k.ChangeDetection, "Watch")
}

// hardThresholds are Kubernetes' for Linux.
var hardThresholds = map[string]string{
	"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%",
}

func (k *Kubelet) resourceDefaults() {
	orTime(&k.ImageMinimumAge, 2*time.Minute)
	orPtr(&k.ImageGCHigh, 85)
	orPtr(&k.ImageGCLow, 80)
	orTime(&k.VolumeStats, time.Minute)
	orPtr(&k.CgroupsPerQOS, true)
	or(&k.CgroupDriver, "cgroupfs")
	or(&k.CPUManagerPolicy, "none")
	orTime(&k.CPUReconcile, 10*time.Second)
	or(&k.MemoryPolicy, "None")
	or(&k.TopologyPolicy, "none")
	or(&k.TopologyScope, "container")
	or(&k.MemoryReservation, "None")
	orPtr(&k.MemoryThrottling, 0.9)
	orPtr(&k.CPUCFSQuota, true)
	orPtr(&k.CPUCFSPeriod, metav1.Duration{Duration: 100 * time.Millisecond})
	orPtr(&k.PodPidsLimit, -1)
	orPtr(&k.LocalStorage, true)
	switch {
	case k.EvictionHard == nil:
		k.EvictionHard = maps.Clone(hardThresholds)
	case k.EvictionMerge != nil && *k.EvictionMerge:
		for s, v := range hardThresholds {
			if _, given := k.EvictionHard[s]; !given {
				k.EvictionHard[s] = v
			}
		}
	}
	orPtr(&k.EvictionMerge, false)
	orTime(&k.EvictionPressure, 5*time.Minute)
	if k.EnforceAllocatable == nil {
		k.EnforceAllocatable = []string{"pods"}
	}
}

func (k *Kubelet) podDefaults() {
	or(&k.PodLogsDir, defaultLogs)
	or(&k.MaxPods, 110)
	or(&k.HairpinMode, "promiscuous-bridge")
	orPtr(&k.ResolvConf, defaultResolv)
	orPtr(&k.RegistryPullQPS, 5)
	or(&k.RegistryBurst, 10)
	or(&k.PullVerification, "NeverVerifyPreloadedImages")
	if k.SerializePulls == nil {
		serial := k.MaxParallelPulls == nil || *k.MaxParallelPulls < 2
		k.SerializePulls = &serial
	}
	orPtr(&k.LogMaxFiles, 5)
	or(&k.LogMaxSize, "10Mi")
	orPtr(&k.LogMaxWorkers, 1)
	orPtr(&k.LogMonitor, metav1.Duration{Duration: 10 * time.Second})
	orPtr(&k.AttachDetach, true)
	orPtr(&k.MakeIPTables, true)
	orPtr(&k.MasqueradeBit, 14)
	orPtr(&k.DropBit, 15)
	orPtr(&k.SeccompDefault, false)
	orPtr(&k.SingleOOMKill, false)
	or(&k.VolumePluginDir, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/")
	orPtr(&k.CrashLoop.Max, metav1.Duration{Duration: 5 * time.Minute})
}
