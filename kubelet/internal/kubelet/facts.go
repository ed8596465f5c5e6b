package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/client/daemon"
	"xebec.dev/kubelet/internal/config"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/node"
	"xebec.dev/kubelet/internal/shutdown"
)

// reserved is what pods don't get: for the system, for Kubernetes, and what
// eviction keeps free.
func reserved(cfg *config.Kubelet, capacity corev1.ResourceList) (corev1.ResourceList, error) {
	out := corev1.ResourceList{}
	add := func(name corev1.ResourceName, q resource.Quantity) {
		have := out[name]
		have.Add(q)
		out[name] = have
	}
	for _, list := range []map[string]string{cfg.KubeReserved, cfg.SystemReserved} {
		for name, text := range list {
			q, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, fmt.Errorf("reserved %s: %w", name, err)
			}
			add(corev1.ResourceName(name), q)
		}
	}
	if cfg.ReservedCPUs != "" { // goes before what is reserved by amount
		n, err := config.CPUs(cfg.ReservedCPUs)
		if err != nil {
			return nil, fmt.Errorf("reservedSystemCPUs: %w", err)
		}
		out[corev1.ResourceCPU] = *resource.NewQuantity(int64(n), resource.DecimalSI)
	}
	for signal, name := range map[string]corev1.ResourceName{"memory.available": corev1.ResourceMemory, "nodefs.available": corev1.ResourceEphemeralStorage} {
		text, ok := cfg.EvictionHard[signal]
		if !ok {
			continue
		}
		q, share, err := config.Threshold(text)
		if err != nil {
			return nil, fmt.Errorf("evictionHard[%s]: %w", signal, err)
		}
		if q == nil {
			whole := capacity[name]
			q = resource.NewQuantity(int64(float64(whole.Value())*share), resource.BinarySI)
		}
		add(name, *q)
	}
	return out, nil
}

// podLimit bounds all pods together: what is reserved is kept from them, what
// eviction keeps free is not, or there would be nothing to evict by.
func (k *Kubelet) podLimit() corev1.ResourceList {
	out := k.host.Capacity(k.f.RootDir, int64(k.maxPods()))
	for _, list := range []map[string]string{k.cfg.KubeReserved, k.cfg.SystemReserved} {
		for name, text := range list {
			q := out[corev1.ResourceName(name)]
			q.Sub(resource.MustParse(text)) // was parsed by Validate
			out[corev1.ResourceName(name)] = q
		}
	}
	return out
}

// nodeKeys are the node's own credentials for pulling images.
func (k *Kubelet) nodeKeys() image.Keyring {
	var keys image.Keyring
	paths := []string{filepath.Join(k.f.RootDir, "config.json")}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".docker", "config.json"))
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		more, err := image.ParseDockerConfig(raw)
		if err != nil {
			k.log.Warn("credentials for pulling images can't be used", zap.String("path", path), zap.Error(err))
			continue
		}
		keys = append(keys, more...)
	}
	return keys
}

// facts are what the node's status is made of.
func (k *Kubelet) facts(ctx context.Context) *node.Facts {
	f := &node.Facts{
		Name: k.name, Hostname: k.name, IPs: k.ips, Host: k.host, Capacity: k.host.Capacity(k.f.RootDir, int64(k.maxPods())), Reserved: k.reserved,
		Version: daemon.GitVersion, Port: k.cfg.Port, MaxImages: int(*k.cfg.StatusMaxImages), External: k.f.CloudProvider == "external",
		VolumesInUse: k.volumes.InUse(), Devices: k.devices.Amounts(), Now: time.Now(),
	}
	pressures := k.eviction.Pressures()
	f.Memory, f.Disk, f.PIDs = pressures.Memory, pressures.Disk, pressures.PIDs
	before := k.NetworkReady()
	h, err := k.runtime.Health(ctx)
	switch {
	case err != nil:
		f.NotReady = append(f.NotReady, "container runtime is down")
		h = k.health.Load()
	default:
		k.health.Store(h)
		if !h.RuntimeReady {
			f.NotReady = append(f.NotReady, "container runtime not ready: "+h.RuntimeMessage)
		}
		if !h.NetworkReady {
			f.NotReady = append(f.NotReady, "container runtime network not ready: "+h.NetworkMessage)
		}
	}
	f.Runtime, f.Handlers, f.Supplement = h.Version, h.Handlers, h.Features.GetSupplementalGroupsPolicy()
	if ok, silent := k.pleg.Healthy(); !ok && silent > 0 {
		f.NotReady = append(f.NotReady, fmt.Sprintf("PLEG is not healthy: pleg was last seen active %v ago; threshold is 3m0s", silent.Truncate(time.Millisecond)))
	}
	if k.shutdown.Down() {
		f.NotReady = append(f.NotReady, shutdown.NotReady)
	}
	if list, err := k.runtime.Images.ListImages(ctx, &runtimeapi.ListImagesRequest{}); err == nil {
		f.Images = list.Images
	}
	if before != nil && k.NetworkReady() == nil {
		k.workers.WakeAll()
	}
	return f
}

// NetworkReady implements worker.Node.
func (k *Kubelet) NetworkReady() error {
	h := k.health.Load()
	if h == nil {
		return errors.New("container runtime status check may not have completed yet")
	}
	if !h.NetworkReady {
		return errors.New("container runtime network not ready: " + h.NetworkMessage)
	}
	return nil
}

// IPs implements worker.Node.
func (k *Kubelet) IPs() []string { return k.ips }

// Object implements worker.Node.
func (k *Kubelet) Object() *corev1.Node { return k.node.Object() }
