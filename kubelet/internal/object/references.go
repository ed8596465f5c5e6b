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
	for i := range pod.Spec.InitContainers {
		r.container(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Containers {
		r.container(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
	}
	for i := range pod.Spec.EphemeralContainers {
		r.container(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Volumes {
		r.volume(&pod.Spec.Volumes[i])
	}
	slices.SortFunc(r.keys, Key.compare)
	return slices.Compact(r.keys)
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

func (r *references) container(vars []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range vars {
		s := vars[i].ValueFrom
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
	for i := range from {
		if from[i].ConfigMapRef != nil {
			r.add(ConfigMap, from[i].ConfigMapRef.Name)
		}
		if from[i].SecretRef != nil {
			r.add(Secret, from[i].SecretRef.Name)
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
