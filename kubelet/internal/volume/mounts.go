package volume

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/env"
)

// place is where a volume is on this node.
type place struct {
	path     string
	readOnly bool // whatever the container wants
	device   bool
	image    *runtimeapi.ImageSpec
}

// place finds a volume that Setup has set up.
func (m *Manager) place(s *podVolumes, v *corev1.Volume) (place, error) {
	switch {
	case content(v):
		return place{path: m.contentDir(s.pod, v), readOnly: true}, nil
	case v.EmptyDir != nil:
		return place{path: m.dir(s.pod.UID, pluginEmptyDir, v.Name)}, nil
	case v.HostPath != nil:
		return place{path: v.HostPath.Path}, nil
	case v.Image != nil:
		return place{readOnly: true}, nil
	case v.CSI != nil:
		return place{path: m.csi.publishDir(s.pod.UID, v.Name), readOnly: isTrue(v.CSI.ReadOnly)}, nil
	default:
		if c := s.claims[v.Name]; c != nil {
			return place{path: c.path, readOnly: c.readOnly, device: c.block}, nil
		}
	}
	return place{}, fmt.Errorf("volume %q of pod %s has not been set up", v.Name, s.pod.Name)
}

// Mounts are the mounts and devices of a container for the runtime. vars is
// the container's environment, for subPathExpr. Setup must have succeeded.
// The error is the message of CreateContainerConfigError, or that of Image.
func (m *Manager) Mounts(ctx context.Context, pod *corev1.Pod, container *corev1.Container, vars []env.Variable) ([]*runtimeapi.Mount, []*runtimeapi.Device, error) {
	s := m.state(pod.UID)
	s.busy.Lock()
	defer s.busy.Unlock()
	if s.gone || s.pod == nil {
		return nil, nil, fmt.Errorf("the volumes of pod %s have not been set up", pod.Name)
	}
	var mounts []*runtimeapi.Mount
	for i := range container.VolumeMounts {
		one, err := m.mount(ctx, s, container, i, vars)
		if err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, one)
	}
	var devices []*runtimeapi.Device
	for i := range container.VolumeDevices {
		d := &container.VolumeDevices[i]
		v, err := find(s.pod, d.Name)
		if err != nil {
			return nil, nil, err
		}
		p, err := m.place(s, v)
		if err != nil {
			return nil, nil, err
		}
		if !p.device {
			return nil, nil, fmt.Errorf("volume %q is used as a device by container %s, but its volumeMode is Filesystem: use volumeMounts", d.Name, container.Name)
		}
		permissions := "mrw"
		if p.readOnly {
			permissions = "r"
		}
		devices = append(devices, &runtimeapi.Device{ContainerPath: d.DevicePath, HostPath: p.path, Permissions: permissions})
	}
	return mounts, devices, nil
}

func (m *Manager) mount(ctx context.Context, s *podVolumes, container *corev1.Container, index int, vars []env.Variable) (*runtimeapi.Mount, error) {
	vm := &container.VolumeMounts[index]
	v, err := find(s.pod, vm.Name)
	if err != nil {
		return nil, err
	}
	p, err := m.place(s, v)
	if err != nil {
		return nil, err
	}
	if p.device {
		return nil, fmt.Errorf("volume %q is mounted by container %s, but its volumeMode is Block: use volumeDevices", vm.Name, container.Name)
	}
	sub, err := subPath(vm, vars)
	if err != nil {
		return nil, err
	}
	if v.Image != nil {
		if p.image, err = m.image(ctx, s.pod, v, container.Name); err != nil {
			return nil, err
		}
	}
	out := &runtimeapi.Mount{ContainerPath: vm.MountPath, HostPath: p.path, Readonly: vm.ReadOnly || p.readOnly, Image: p.image}
	if !filepath.IsAbs(out.ContainerPath) {
		out.ContainerPath = "/" + out.ContainerPath
	}
	if out.Propagation, err = propagation(vm.MountPropagation); err != nil {
		return nil, err
	}
	if out.RecursiveReadOnly, err = m.recursive(s.pod, vm); err != nil {
		return nil, err
	}
	switch {
	case sub == "":
	case p.image != nil:
		out.ImageSubPath = sub
	default:
		out.HostPath, err = m.mountSubPath(s.pod.UID, vm.Name, p.path, sub, container.Name, index)
		if err != nil {
			// The pod's people read the message: what is behind a link on the
			// node is not theirs to learn.
			m.o.Log.Warn("a subPath can't be prepared", zap.String("uid", string(s.pod.UID)), zap.String("volume", vm.Name), zap.String("container", container.Name), zap.Error(err))
			return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q", vm.Name, container.Name)
		}
	}
	return out, nil
}

func (m *Manager) image(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, container string) (*runtimeapi.ImageSpec, error) {
	if m.o.Image == nil {
		return nil, fmt.Errorf("volume %q is an image: the container runtime can't mount images", v.Name)
	}
	return m.o.Image(ctx, pod, v, container)
}

// subPath is the part of the volume that a container mounts, "" is all.
func subPath(vm *corev1.VolumeMount, vars []env.Variable) (string, error) {
	path := vm.SubPath
	if vm.SubPathExpr != "" {
		lookup := env.Lookup(vars)
		var missing string
		path = env.Expand(vm.SubPathExpr, func(name string) (string, bool) {
			v, ok := lookup(name)
			if !ok && missing == "" {
				missing = name
			}
			return v, ok
		})
		if missing != "" {
			return "", fmt.Errorf("missing value for %q", missing)
		}
	}
	if path == "" {
		return "", nil
	}
	return path, checkSubPath(path)
}

func propagation(p *corev1.MountPropagationMode) (runtimeapi.MountPropagation, error) {
	if p == nil {
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	}
	switch *p {
	case corev1.MountPropagationNone:
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	case corev1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, nil
	case corev1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL, nil
	}
	return 0, fmt.Errorf("invalid MountPropagation mode: %q", *p)
}

func (m *Manager) recursive(pod *corev1.Pod, vm *corev1.VolumeMount) (bool, error) {
	if vm.RecursiveReadOnly == nil || *vm.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled {
		return false, nil
	}
	handler := ""
	if pod.Spec.RuntimeClassName != nil {
		handler = *pod.Spec.RuntimeClassName
	}
	can := m.o.RecursiveReadOnly != nil && m.o.RecursiveReadOnly(handler)
	switch *vm.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyIfPossible:
		return can && vm.ReadOnly, nil
	case corev1.RecursiveReadOnlyEnabled:
		if !can {
			return false, fmt.Errorf("failed to resolve recursive read-only mode: volume %q requested recursive read-only mode, but the runtime does not support it", vm.Name)
		}
		return true, nil
	}
	return false, fmt.Errorf("failed to resolve recursive read-only mode: unknown mode %q of volume %q", *vm.RecursiveReadOnly, vm.Name)
}

// ReadFile reads a file below a volume of the pod, at most limit bytes; links
// don't lead out of the volume.
func (m *Manager) ReadFile(pod *corev1.Pod, volume, path string, limit int64) ([]byte, error) {
	s := m.state(pod.UID)
	s.busy.Lock()
	defer s.busy.Unlock()
	if s.pod == nil {
		return nil, fmt.Errorf("the volumes of pod %s have not been set up", pod.Name)
	}
	v, err := find(s.pod, volume)
	if err != nil {
		return nil, err
	}
	p, err := m.place(s, v)
	if err != nil {
		return nil, err
	}
	if err := checkSubPath(path); err != nil {
		return nil, err
	}
	root, err := unix.Open(p.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := openBeneath(root, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s of volume %q is not a file", path, volume)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s of volume %q has %d bytes: at most %d are read", path, volume, info.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
