package serviceaccount

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

const (
	tokenPath    = "/var/run/secrets/kubernetes.io/serviceaccount"
	volumePrefix = "kube-api-access-"
	// tokenSeconds is a little more than an hour, by which tokens made for pods
	// are told from others that ask for an hour.
	tokenSeconds = 60*60 + 7
	rootCA       = "kube-root-ca.crt"
	volumeMode   = int32(0o644)
)

// mountToken adds the token's volume and mounts it in every container that has
// nothing at its path.
func mountToken(pod *corev1.Pod) {
	name, have := tokenVolume(pod)
	needed := false
	for _, list := range [2][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if mounted(c) {
				continue
			}
			needed = true
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenPath})
		}
	}
	if needed && !have {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: tokenSource()})
	}
}

// tokenVolume is the name for the volume, and whether the pod has it already.
func tokenVolume(pod *corev1.Pod) (string, bool) {
	for i := range pod.Spec.Volumes {
		if strings.HasPrefix(pod.Spec.Volumes[i].Name, volumePrefix) {
			return pod.Spec.Volumes[i].Name, true
		}
	}
	return volumePrefix + rand.String(5), false
}

func mounted(c *corev1.Container) bool {
	for i := range c.VolumeMounts {
		if c.VolumeMounts[i].MountPath == tokenPath {
			return true
		}
	}
	return false
}

func tokenSource() corev1.VolumeSource {
	seconds, mode := int64(tokenSeconds), volumeMode
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: &mode,
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCA},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}}
}
