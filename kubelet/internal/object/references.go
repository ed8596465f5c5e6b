package object

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// References are the objects that a pod names: in volumes, in the
// environment of all its containers, and for pulling images. They are sorted
// and each is there once.
func References(pod *corev1.Pod) []Key {
	r := references{namespace: pod.Namespace}
	for i := range pod.Spec.ImagePullSecrets {
		r.add(Secret, pod.Spec.ImagePullSecrets[i].Name)
	}
	eachContainer(pod, r.container)
	for i := range pod.Spec.Volumes {
		r.volume(&pod.Spec.Volumes[i])
	}
	slices.SortFunc(r.keys, Key.compare)
	return slices.Compact(r.keys)
}

// Readers are the containers of a pod whose start an object may decide about:
// those that have it in their environment or in a volume that they mount, and all
// for a secret with which images are pulled.
func Readers(pod *corev1.Pod, key Key) (names []string) {
	pulls := slices.ContainsFunc(pod.Spec.ImagePullSecrets, func(s corev1.LocalObjectReference) bool {
		return key == Key{Kind: Secret, Namespace: pod.Namespace, Name: s.Name}
	})
	eachContainer(pod, func(c *corev1.Container) {
		r := references{namespace: pod.Namespace}
		r.container(c)
		for i := range pod.Spec.Volumes {
			v := &pod.Spec.Volumes[i]
			if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name }) {
				r.volume(v)
			}
		}
		if pulls || slices.Contains(r.keys, key) {
			names = append(names, c.Name)
		}
	})
	return names
}

func eachContainer(pod *corev1.Pod, f func(*corev1.Container)) {
	for i := range pod.Spec.InitContainers {
		f(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		f(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.EphemeralContainers {
		c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c)
	}
}

type references struct {
	namespace string
	keys      []Key
}

func (r *references) add(kind Kind, name string) {
	if name != "" {
		r.keys = append(r.keys, Key{Kind: kind, Namespace: r.namespace, Name: name})
	}
}

func (r *references) container(c *corev1.Container) {
	for i := range c.Env {
		s := c.Env[i].ValueFrom
		if s == nil {
			continue
		}
		if s.ConfigMapKeyRef != nil {
			r.add(ConfigMap, s.ConfigMapKeyRef.Name)
		}
		if s.SecretKeyRef != nil {
			r.add(Secret, s.SecretKeyRef.Name)
		}
	}
	for i := range c.EnvFrom {
		if m := c.EnvFrom[i].ConfigMapRef; m != nil {
			r.add(ConfigMap, m.Name)
		}
		if s := c.EnvFrom[i].SecretRef; s != nil {
			r.add(Secret, s.Name)
		}
	}
}

func (r *references) volume(v *corev1.Volume) {
	switch {
	case v.ConfigMap != nil:
		r.add(ConfigMap, v.ConfigMap.Name)
	case v.Secret != nil:
		r.add(Secret, v.Secret.SecretName)
	case v.CSI != nil && v.CSI.NodePublishSecretRef != nil:
		r.add(Secret, v.CSI.NodePublishSecretRef.Name)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			s := &v.Projected.Sources[i]
			if s.ConfigMap != nil {
				r.add(ConfigMap, s.ConfigMap.Name)
			}
			if s.Secret != nil {
				r.add(Secret, s.Secret.Name)
			}
		}
	}
}
