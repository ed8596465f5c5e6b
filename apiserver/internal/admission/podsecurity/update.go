package podsecurity

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// significant reports whether an update could break a rule that the pod kept:
// it changes images, containers, or annotations that the rules read. Other
// updates (labels, status, finalizers) must work for pods that were there
// before the level.
func significant(pod, old *corev1.Pod) bool {
	return !maps.Equal(ruled(pod.Annotations), ruled(old.Annotations)) ||
		differ(pod.Spec.Containers, old.Spec.Containers) ||
		differ(pod.Spec.InitContainers, old.Spec.InitContainers) ||
		differEphemeral(pod.Spec.EphemeralContainers, old.Spec.EphemeralContainers)
}

// ruled are the annotations that stood for AppArmor and seccomp profiles
// before there were fields.
func ruled(annotations map[string]string) map[string]string {
	var out map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) ||
			k == corev1.SeccompPodAnnotationKey || strings.HasPrefix(k, corev1.SeccompContainerAnnotationKeyPrefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

func differ(a, b []corev1.Container) bool {
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if a[i].Image != b[i].Image || a[i].Name != b[i].Name {
			return true
		}
	}
	return false
}

func differEphemeral(a, b []corev1.EphemeralContainer) bool {
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if a[i].Image != b[i].Image || a[i].Name != b[i].Name {
			return true
		}
	}
	return false
}
