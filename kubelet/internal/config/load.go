package config

import (
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/client/daemon"
)

// Load reads the configuration file (none if empty), the drop-ins and the
// flags, each over the one before, and checks the whole.
func Load(file string, f *Flags) (*Kubelet, error) {
	k := &Kubelet{}
	if file != "" {
		if _, err := daemon.ReadConfig(file, Group, Kind, Versions, k); err != nil {
			return nil, err
		}
	}
	if err := k.dropIns(f.ConfigDir); err != nil {
		return nil, err
	}
	for _, s := range f.given {
		if err := s.apply(k, s.value); err != nil {
			return nil, fmt.Errorf("--%s: %w", s.name, err)
		}
	}
	k.SetDefaults()
	if errs := k.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("kubelet configuration: %w", errs.ToAggregate())
	}
	return k, nil
}

func (k *Kubelet) dropIns(dir string) error {
	if dir == "" {
		return nil
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".conf") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("--config-dir: %w", err)
	}
	slices.Sort(files)
	for _, path := range files {
		if _, err := daemon.ReadConfig(path, Group, Kind, Versions, k); err != nil {
			return err
		}
	}
	return nil
}

// Signals of eviction.
var signals = []string{
	"memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
	"containerfs.available", "containerfs.inodesFree", "pid.available", "allocatableMemory.available",
}

// Validate finds what can't be.
func (k *Kubelet) Validate() field.ErrorList {
	v := &validator{}
	v.between("healthzPort", int64(*k.HealthzPort), 0, 65535)
	v.between("port", int64(k.Port), 1, 65535)
	v.between("readOnlyPort", int64(k.ReadOnlyPort), 0, 65535)
	v.between("registryPullQPS", int64(*k.RegistryPullQPS), 0, math.MaxInt32)
	v.between("registryBurst", int64(k.RegistryBurst), 0, math.MaxInt32)
	v.between("imageGCHighThresholdPercent", int64(*k.ImageGCHigh), 0, 100)
	v.between("imageGCLowThresholdPercent", int64(*k.ImageGCLow), 0, 100)
	if *k.ImageGCLow >= *k.ImageGCHigh {
		v.bad("imageGCLowThresholdPercent", *k.ImageGCLow, fmt.Sprintf("must be less than imageGCHighThresholdPercent, %d", *k.ImageGCHigh))
	}
	v.between("maxPods", int64(k.MaxPods), 0, 1<<31-1)
	v.between("oomScoreAdj", int64(*k.OOMScoreAdj), -1000, 1000)
	v.between("nodeLeaseDurationSeconds", int64(k.LeaseSeconds), 1, 1<<31-1)
	v.between("containerLogMaxFiles", int64(*k.LogMaxFiles), 2, 1<<31-1)
	v.oneOf("authorization.mode", k.Authorization.Mode, "AlwaysAllow", "Webhook")
	v.oneOf("cgroupDriver", k.CgroupDriver, "cgroupfs", "systemd")
	v.oneOf("cpuManagerPolicy", k.CPUManagerPolicy, "none")
	v.oneOf("memoryManagerPolicy", k.MemoryPolicy, "None")
	v.oneOf("topologyManagerPolicy", k.TopologyPolicy, "none", "best-effort")
	v.oneOf("logging.format", k.Logging.Format, "text", "json")
	v.oneOf("memorySwap.swapBehavior", k.MemorySwap.Behavior, "", "NoSwap")
	for _, ip := range append([]string{k.Address, k.HealthzAddress}, k.ClusterDNS...) {
		if net.ParseIP(ip) == nil {
			v.bad("address, healthzBindAddress, clusterDNS", ip, "must be IP addresses")
		}
	}
	for name, list := range map[string]map[string]string{"kubeReserved": k.KubeReserved, "systemReserved": k.SystemReserved} {
		for r, q := range list {
			if _, err := resource.ParseQuantity(q); err != nil {
				v.bad(name+"["+r+"]", q, err.Error())
			}
			if !slices.Contains([]string{"cpu", "memory", "ephemeral-storage", "pid"}, r) {
				v.bad(name, r, "can be cpu, memory, ephemeral-storage and pid")
			}
		}
	}
	v.eviction(k)
	if k.Port == k.ReadOnlyPort {
		v.bad("readOnlyPort", k.ReadOnlyPort, "is the port of HTTPS already")
	}
	if (k.TLSCertFile == "") != (k.TLSPrivateKey == "") {
		v.bad("tlsCertFile", k.TLSCertFile, "needs tlsPrivateKeyFile, and the other way round")
	}
	if q, err := resource.ParseQuantity(k.LogMaxSize); err != nil || q.Value() <= 0 {
		v.bad("containerLogMaxSize", k.LogMaxSize, "must be a positive quantity, as in 10Mi")
	}
	if m := k.CrashLoop.Max.Duration; m < time.Second || m > 5*time.Minute {
		v.bad("crashLoopBackOff.maxContainerRestartPeriod", m.String(), "must be between 1s and 300s")
	}
	v.shutdown(k)
	v.refused(k)
	if k.StaticPodURL != "" {
		v.bad("staticPodURL", k.StaticPodURL, "static pods come from staticPodPath only")
	}
	return v.errs
}

type validator struct{ errs field.ErrorList }

func (v *validator) bad(name string, value any, why string) {
	v.errs = append(v.errs, field.Invalid(field.NewPath(name), value, why))
}

func (v *validator) between(name string, n, low, high int64) {
	if n < low || n > high {
		v.bad(name, n, fmt.Sprintf("must be between %d and %d, inclusive", low, high))
	}
}

func (v *validator) oneOf(name, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.errs = append(v.errs, field.NotSupported(field.NewPath(name), value, allowed))
	}
}

// refused are settings that promise something that this kubelet would not
// keep: without them somebody could count on it.
func (v *validator) refused(k *Kubelet) {
	v.oneOf("imagePullCredentialsVerificationPolicy", k.PullVerification, "NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")
	if len(k.PreloadedImages) > 0 && k.PullVerification != "NeverVerifyAllowlistedImages" {
		v.bad("preloadedImagesVerificationAllowlist", k.PreloadedImages, `must not be set unless imagePullCredentialsVerificationPolicy is "NeverVerifyAllowlistedImages"`)
	}
	for _, e := range k.EnforceAllocatable {
		v.oneOf("enforceNodeAllocatable", e, "pods", "none")
	}
	for name, given := range map[string]int{
		"cpuManagerPolicyOptions": len(k.CPUOptions), "topologyManagerPolicyOptions": len(k.TopologyOptions), "qosReserved": len(k.QOSReserved), "reservedMemory": len(k.ReservedMemory),
	} {
		if given > 0 {
			v.bad(name, given, "needs a policy of CPU, memory or topology that this kubelet has not: leave it out")
		}
	}
	if k.RunOnce {
		v.bad("runOnce", true, "is no longer supported")
	}
	if k.ReservedCPUs != "" {
		if _, err := CPUs(k.ReservedCPUs); err != nil {
			v.bad("reservedSystemCPUs", k.ReservedCPUs, err.Error())
		}
		if len(k.KubeReserved["cpu"])+len(k.SystemReserved["cpu"]) > 0 && k.SystemReservedCg+k.KubeReservedCg != "" {
			v.bad("reservedSystemCPUs", k.ReservedCPUs, "can't be used with systemReservedCgroup or kubeReservedCgroup")
		}
	}
}

// CPUs counts the CPUs of a list as the kernel writes it: 0-3,8.
func CPUs(list string) (int, error) {
	seen := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.ParseUint(low, 10, 16)
		to := from
		if err == nil && ranged {
			to, err = strconv.ParseUint(high, 10, 16)
		}
		if err != nil || to < from {
			return 0, fmt.Errorf("%q is no list of CPUs, as in 0-1,4", list)
		}
		for n := from; n <= to; n++ {
			seen[int(n)] = true
		}
	}
	return len(seen), nil
}

// Unheeded are settings that were given and change nothing, with the reason.
func (k *Kubelet) Unheeded() map[string]string {
	out := map[string]string{}
	note := func(given bool, name, why string) {
		if given {
			out[name] = why
		}
	}
	note(k.Tracing != nil && k.Tracing.Endpoint != nil, "tracing", "this kubelet sends no traces")
	note(*k.SystemLogQuery && !*k.SystemLogHandler, "enableSystemLogQuery", "it needs enableSystemLogHandler")
	note(!*k.LocalStorage, "localStorageCapacityIsolation", "local storage is always measured")
	note(k.MemoryReservation != "None", "memoryReservationPolicy", "memory.min and memory.low are not set")
	note(k.ShowHiddenMetrics != "", "showHiddenMetricsForVersion", "no metrics are hidden")
	note(k.MemcgNotification, "kernelMemcgNotification", "memory is looked at at intervals")
	note(k.LogMaxWorkers != nil && *k.LogMaxWorkers > 1, "containerLogMaxWorkers", "logs are rotated one after the other, which takes a rename each")
	return out
}

func (v *validator) shutdown(k *Kubelet) {
	total, last := k.ShutdownGrace.Duration, k.ShutdownCritical.Duration
	if last > total {
		v.bad("shutdownGracePeriodCriticalPods", last.String(), "is part of shutdownGracePeriod, "+total.String()+": it can't be more")
	}
	for name, d := range map[string]time.Duration{"shutdownGracePeriod": total, "shutdownGracePeriodCriticalPods": last} {
		if d < 0 || d > 0 && d < time.Second {
			v.bad(name, d.String(), "must be either zero or otherwise >= 1 sec")
		}
	}
	if len(k.ShutdownByPriority) > 0 && total+last > 0 {
		v.bad("shutdownGracePeriodByPodPriority", len(k.ShutdownByPriority), "cannot be specified together with shutdownGracePeriod")
	}
	for _, g := range k.ShutdownByPriority {
		v.between("shutdownGracePeriodByPodPriority.shutdownGracePeriodSeconds", g.Seconds, 0, 1<<31-1)
	}
}

func (v *validator) eviction(k *Kubelet) {
	for name, m := range map[string]map[string]string{"evictionHard": k.EvictionHard, "evictionSoft": k.EvictionSoft, "evictionMinimumReclaim": k.EvictionReclaim} {
		for signal, q := range m {
			if !slices.Contains(signals, signal) {
				v.errs = append(v.errs, field.NotSupported(field.NewPath(name), signal, signals))
			}
			if _, _, err := Threshold(q); err != nil {
				v.bad(name+"["+signal+"]", q, err.Error())
			}
		}
	}
	for signal := range k.EvictionSoft {
		if d, err := time.ParseDuration(k.EvictionGrace[signal]); err != nil || d <= 0 {
			v.bad("evictionSoftGracePeriod["+signal+"]", k.EvictionGrace[signal], "every soft threshold needs a positive time, as in 1m30s")
		}
	}
}

// Threshold reads a quantity, or a share of the whole.
func Threshold(s string) (q *resource.Quantity, share float64, err error) {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		var n float64
		if _, err := fmt.Sscanf(percent, "%g", &n); err != nil || n < 0 || n > 100 {
			return nil, 0, fmt.Errorf("must be a quantity, or a share between 0%% and 100%%")
		}
		return nil, n / 100, nil
	}
	parsed, err := resource.ParseQuantity(s)
	if err != nil || parsed.Sign() < 0 {
		return nil, 0, fmt.Errorf("must be a quantity that is not negative, or a share as in 10%%")
	}
	return &parsed, 0, nil
}

// Resolv is the file whose settings pods inherit: systemd-resolved's own
// answers only on the host's loopback, so its upstream's file is taken.
func (k *Kubelet) Resolv() string {
	path := *k.ResolvConf
	if path != defaultResolv {
		return path
	}
	if target, err := filepath.EvalSymlinks(path); err == nil && strings.HasSuffix(target, "stub-resolv.conf") {
		if _, err := os.Stat(resolvedResolv); err == nil {
			return resolvedResolv
		}
	}
	return path
}
