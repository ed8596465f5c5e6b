package node

import corev1 "k8s.io/api/core/v1"

// claimName is the PersistentVolumeClaim behind a pod's volume, "" if none.
func claimName(p *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

func usesClaim(p *corev1.Pod, name string) bool {
	for i := range p.Spec.Volumes {
		if claimName(p, &p.Spec.Volumes[i]) == name {
			return true
		}
	}
	return false
}

func usesResourceClaim(p *corev1.Pod, name string) bool {
	for i := range p.Spec.ResourceClaims {
		if n := p.Spec.ResourceClaims[i].ResourceClaimName; n != nil && *n == name {
			return true
		}
	}
	for i := range p.Status.ResourceClaimStatuses {
		if n := p.Status.ResourceClaimStatuses[i].ResourceClaimName; n != nil && *n == name {
			return true
		}
	}
	e := p.Status.ExtendedResourceClaimStatus
	return e != nil && e.ResourceClaimName == name
}

// eachEnv calls visit for the environment of every container of any kind,
// until it returns true.
func eachEnv(s *corev1.PodSpec, visit func([]corev1.EnvVar, []corev1.EnvFromSource) bool) bool {
	for _, set := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range set {
			if visit(set[i].Env, set[i].EnvFrom) {
				return true
			}
		}
	}
	for i := range s.EphemeralContainers {
		if visit(s.EphemeralContainers[i].Env, s.EphemeralContainers[i].EnvFrom) {
			return true
		}
	}
	return false
}

func usesConfigMap(s *corev1.PodSpec, name string) bool {
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.ConfigMap != nil && v.ConfigMap.Name == name {
			return true
		}
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				if c := v.Projected.Sources[j].ConfigMap; c != nil && c.Name == name {
					return true
				}
			}
		}
	}
	return eachEnv(s, func(env []corev1.EnvVar, from []corev1.EnvFromSource) bool {
		for i := range env {
			if f := env[i].ValueFrom; f != nil && f.ConfigMapKeyRef != nil && f.ConfigMapKeyRef.Name == name {
				return true
			}
		}
		for i := range from {
			if c := from[i].ConfigMapRef; c != nil && c.Name == name {
				return true
			}
		}
		return false
	})
}

func usesSecret(s *corev1.PodSpec, name string) bool {
	for i := range s.ImagePullSecrets {
		if s.ImagePullSecrets[i].Name == name {
			return true
		}
	}
	for i := range s.Volumes {
		if usesSecretVolume(&s.Volumes[i], name) {
			return true
		}
	}
	return eachEnv(s, func(env []corev1.EnvVar, from []corev1.EnvFromSource) bool {
		for i := range env {
			if f := env[i].ValueFrom; f != nil && f.SecretKeyRef != nil && f.SecretKeyRef.Name == name {
				return true
			}
		}
		for i := range from {
			if c := from[i].SecretRef; c != nil && c.Name == name {
				return true
			}
		}
		return false
	})
}

func usesSecretVolume(v *corev1.Volume, name string) bool {
	var ref *corev1.LocalObjectReference
	switch {
	case v.Secret != nil:
		return v.Secret.SecretName == name
	case v.AzureFile != nil:
		return v.AzureFile.SecretName == name
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if c := v.Projected.Sources[i].Secret; c != nil && c.Name == name {
				return true
			}
		}
		return false
	case v.CephFS != nil:
		ref = v.CephFS.SecretRef
	case v.Cinder != nil:
		ref = v.Cinder.SecretRef
	case v.FlexVolume != nil:
		ref = v.FlexVolume.SecretRef
	case v.RBD != nil:
		ref = v.RBD.SecretRef
	case v.ScaleIO != nil:
		ref = v.ScaleIO.SecretRef
	case v.ISCSI != nil:
		ref = v.ISCSI.SecretRef
	case v.StorageOS != nil:
		ref = v.StorageOS.SecretRef
	case v.CSI != nil:
		ref = v.CSI.NodePublishSecretRef
	}
	return ref != nil && ref.Name == name
}

// volumeSecret reports whether a volume, or what the claim is for, refers to a
// Secret. Where no namespace is given it is the claim's.
func volumeSecret(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim, namespace, name string) bool {
	is := func(ns, n string) bool {
		if ns == "" {
			ns = c.Namespace
		}
		return n == name && ns == namespace
	}
	ref := func(r *corev1.SecretReference) bool { return r != nil && is(r.Namespace, r.Name) }
	s := &v.Spec.PersistentVolumeSource
	switch {
	case s.AzureFile != nil:
		ns := ""
		if s.AzureFile.SecretNamespace != nil {
			ns = *s.AzureFile.SecretNamespace
		}
		return is(ns, s.AzureFile.SecretName)
	case s.CephFS != nil:
		return ref(s.CephFS.SecretRef)
	case s.Cinder != nil:
		return ref(s.Cinder.SecretRef)
	case s.FlexVolume != nil:
		return ref(s.FlexVolume.SecretRef)
	case s.RBD != nil:
		return ref(s.RBD.SecretRef)
	case s.ScaleIO != nil:
		return ref(s.ScaleIO.SecretRef)
	case s.ISCSI != nil:
		return ref(s.ISCSI.SecretRef)
	case s.StorageOS != nil:
		return s.StorageOS.SecretRef != nil && is(s.StorageOS.SecretRef.Namespace, s.StorageOS.SecretRef.Name)
	case s.CSI != nil:
		return ref(s.CSI.ControllerPublishSecretRef) || ref(s.CSI.NodeStageSecretRef) || ref(s.CSI.NodePublishSecretRef) ||
			ref(s.CSI.ControllerExpandSecretRef) || ref(s.CSI.NodeExpandSecretRef)
	}
	return false
}
