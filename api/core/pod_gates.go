package core

import (
	corev1 "k8s.io/api/core/v1"
)

// Kubernetes puts new pod fields behind feature gates: while a gate is off the
// field is dropped from what users send. These are the gates of v1.37 that are
// off by default; the fields of all others are kept.
const (
	gateAtomicWriteVolumeUserFields = false
	gateContainerStopSignals        = false
	gateEmptyDirVolumeMode          = false
	gateEvictionRequestAPI          = false
	gateGRPCContainerProbeTLS       = false
	gateGenericWorkload             = false
	gateH2CContainerProbe           = false
	gatePodLogsQuerySplitStreams    = false
	gateRestartAllContainers        = false
	gateSELinuxMount                = false
	gateUserNamespacesHostNetwork   = false
	gateVolumeBindMountOptions      = false
)

// gatedField is a field behind a gate. It reports whether the pod has it, and
// takes it away when asked to.
type gatedField struct {
	on    bool
	field func(s *corev1.PodSpec, drop bool) bool
}

var gatedFields = []gatedField{
	{gateAtomicWriteVolumeUserFields, volumeUsers},
	{gateContainerStopSignals, stopSignals},
	{gateEmptyDirVolumeMode, emptyDirModes},
	{gateEvictionRequestAPI, func(s *corev1.PodSpec, drop bool) bool { return takeSlice(&s.EvictionResponders, drop) }},
	{gateGenericWorkload, func(s *corev1.PodSpec, drop bool) bool { return take(&s.SchedulingGroup, drop) }},
	{gateGRPCContainerProbeTLS, grpcModes},
	{gateH2CContainerProbe, httpProtocols},
	{gateVolumeBindMountOptions, bindMountOptions},
}

// PreparePodTemplate drops the fields of a template that are behind gates,
// unless the old template (nil on create) has them already.
func PreparePodTemplate(t, old *corev1.PodTemplateSpec) {
	if old == nil {
		dropGatedFields(&t.Spec, nil)
		return
	}
	dropGatedFields(&t.Spec, &old.Spec)
}

func dropGatedFields(s, old *corev1.PodSpec) {
	for i := range gatedFields {
		g := &gatedFields[i]
		if !g.on && g.field(s, false) && (old == nil || !g.field(old, false)) {
			g.field(s, true)
		}
	}
	// A hook list without hooks is none, whatever made it empty.
	eachOwnContainer(s, func(c *corev1.Container) {
		if c.Lifecycle != nil && *c.Lifecycle == (corev1.Lifecycle{}) {
			c.Lifecycle = nil
		}
	})
}

// take reports whether a pointer is set, and unsets it.
func take[T any](p **T, drop bool) bool {
	if *p == nil {
		return false
	}
	if drop {
		*p = nil
	}
	return true
}

func takeSlice[T any](p *[]T, drop bool) bool {
	if len(*p) == 0 {
		return false
	}
	if drop {
		*p = nil
	}
	return true
}

func eachOwnContainer(s *corev1.PodSpec, visit func(c *corev1.Container)) {
	for i := range s.InitContainers {
		visit(&s.InitContainers[i])
	}
	for i := range s.Containers {
		visit(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		visit((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon))
	}
}

func stopSignals(s *corev1.PodSpec, drop bool) (found bool) {
	eachOwnContainer(s, func(c *corev1.Container) {
		if c.Lifecycle != nil {
			found = take(&c.Lifecycle.StopSignal, drop) || found
		}
	})
	return found
}

func bindMountOptions(s *corev1.PodSpec, drop bool) (found bool) {
	eachOwnContainer(s, func(c *corev1.Container) {
		for i := range c.VolumeMounts {
			found = takeSlice(&c.VolumeMounts[i].BindMountOptions, drop) || found
		}
	})
	return found
}

func grpcModes(s *corev1.PodSpec, drop bool) (found bool) {
	eachOwnContainer(s, func(c *corev1.Container) {
		for _, p := range [...]*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p != nil && p.GRPC != nil {
				found = take(&p.GRPC.Mode, drop) || found
			}
		}
	})
	return found
}

func httpProtocols(s *corev1.PodSpec, drop bool) (found bool) {
	one := func(h *corev1.HTTPGetAction) {
		if h != nil {
			found = take(&h.Protocol, drop) || found
		}
	}
	eachOwnContainer(s, func(c *corev1.Container) {
		for _, p := range [...]*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p != nil {
				one(p.HTTPGet)
			}
		}
		if l := c.Lifecycle; l != nil {
			for _, h := range [...]*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
				if h != nil {
					one(h.HTTPGet)
				}
			}
		}
	})
	return found
}

func emptyDirModes(s *corev1.PodSpec, drop bool) (found bool) {
	for i := range s.Volumes {
		if e := s.Volumes[i].EmptyDir; e != nil {
			found = take(&e.Mode, drop) || found
		}
	}
	return found
}

func volumeUsers(s *corev1.PodSpec, drop bool) (found bool) {
	keys := func(items []corev1.KeyToPath) {
		for i := range items {
			found = take(&items[i].User, drop) || found
		}
	}
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			found = take(&items[i].User, drop) || found
		}
	}
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.Secret != nil {
			found = take(&v.Secret.DefaultUser, drop) || found
			keys(v.Secret.Items)
		}
		if v.ConfigMap != nil {
			found = take(&v.ConfigMap.DefaultUser, drop) || found
			keys(v.ConfigMap.Items)
		}
		if v.DownwardAPI != nil {
			found = take(&v.DownwardAPI.DefaultUser, drop) || found
			files(v.DownwardAPI.Items)
		}
		if v.Projected != nil {
			found = take(&v.Projected.DefaultUser, drop) || found
			for j := range v.Projected.Sources {
				found = projectionUsers(&v.Projected.Sources[j], keys, files, drop) || found
			}
		}
	}
	return found
}

func projectionUsers(p *corev1.VolumeProjection, keys func([]corev1.KeyToPath), files func([]corev1.DownwardAPIVolumeFile), drop bool) (found bool) {
	if p.Secret != nil {
		keys(p.Secret.Items)
	}
	if p.ConfigMap != nil {
		keys(p.ConfigMap.Items)
	}
	if p.DownwardAPI != nil {
		files(p.DownwardAPI.Items)
	}
	if p.ServiceAccountToken != nil {
		found = take(&p.ServiceAccountToken.User, drop)
	}
	if p.ClusterTrustBundle != nil {
		found = take(&p.ClusterTrustBundle.User, drop) || found
	}
	if p.PodCertificate != nil {
		found = take(&p.PodCertificate.User, drop) || found
	}
	return found
}
