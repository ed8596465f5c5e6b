package noderestriction

import (
	corev1 "k8s.io/api/core/v1"
)

// reference is the kind of API object that a pod names, "" for a pod that
// needs none.
func reference(pod *corev1.Pod) string {
	s := &pod.Spec
	if s.ServiceAccountName != "" {
		return "serviceaccounts"
	}
	u := uses{secrets: len(s.ImagePullSecrets) > 0}
	for _, list := range [2][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range list {
			u.env(list[i].Env, list[i].EnvFrom)
		}
	}
	for i := range s.EphemeralContainers {
		u.env(s.EphemeralContainers[i].Env, s.EphemeralContainers[i].EnvFrom)
	}
	for i := range s.Volumes {
		u.volume(&s.Volumes[i])
	}
	switch {
	case u.secrets:
		return "secrets"
	case u.configMaps:
		return "configmaps"
	case len(s.ResourceClaims) > 0:
		return "resourceclaims"
	}
	return u.volumes
}

type uses struct {
	secrets, configMaps bool
	// volumes is the first other kind that a volume names.
	volumes string
}

func (u *uses) env(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range env {
		if v := env[i].ValueFrom; v != nil {
			u.secrets = u.secrets || v.SecretKeyRef != nil
			u.configMaps = u.configMaps || v.ConfigMapKeyRef != nil
		}
	}
	for i := range from {
		u.secrets = u.secrets || from[i].SecretRef != nil
		u.configMaps = u.configMaps || from[i].ConfigMapRef != nil
	}
}

func (u *uses) volume(v *corev1.Volume) {
	u.secrets = u.secrets || v.Secret != nil || v.AzureFile != nil || driverSecret(v)
	u.configMaps = u.configMaps || v.ConfigMap != nil
	kind := ""
	switch {
	case v.PersistentVolumeClaim != nil:
		kind = "persistentvolumeclaims"
	case v.Ephemeral != nil:
		kind = "persistentvolumeclaims (via ephemeral volumes)"
	case v.CSI != nil:
		kind = "csidrivers (via CSI volumes)"
	case v.Glusterfs != nil:
		kind = "endpoints (via glusterfs volumes)"
	case v.Projected != nil:
		kind = u.projected(v.Projected)
	}
	if u.volumes == "" {
		u.volumes = kind
	}
}

func (u *uses) projected(v *corev1.ProjectedVolumeSource) string {
	kind := ""
	for i := range v.Sources {
		s := &v.Sources[i]
		u.secrets = u.secrets || s.Secret != nil
		u.configMaps = u.configMaps || s.ConfigMap != nil
		switch {
		case kind != "":
		case s.ServiceAccountToken != nil:
			kind = "serviceaccounts (via projected volumes)"
		case s.ClusterTrustBundle != nil:
			kind = "clustertrustbundles (via projected volumes)"
		case s.PodCertificate != nil:
			kind = "podcertificates (via projected volumes)"
		}
	}
	return kind
}

func driverSecret(v *corev1.Volume) bool {
	return v.CephFS != nil && v.CephFS.SecretRef != nil || v.Cinder != nil && v.Cinder.SecretRef != nil ||
		v.FlexVolume != nil && v.FlexVolume.SecretRef != nil || v.RBD != nil && v.RBD.SecretRef != nil ||
		v.ScaleIO != nil && v.ScaleIO.SecretRef != nil || v.ISCSI != nil && v.ISCSI.SecretRef != nil ||
		v.StorageOS != nil && v.StorageOS.SecretRef != nil || v.CSI != nil && v.CSI.NodePublishSecretRef != nil
}
