package core

import corev1 "k8s.io/api/core/v1"

// DefaultPersistentVolume fills a volume and its source.
func DefaultPersistentVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	DefaultPersistentVolumeSpec(&v.Spec)
}

// DefaultPersistentVolumeSpec fills the spec of a volume.
func DefaultPersistentVolumeSpec(s *corev1.PersistentVolumeSpec) {
	if s.PersistentVolumeReclaimPolicy == "" {
		s.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	if s.VolumeMode == nil {
		s.VolumeMode = new(corev1.PersistentVolumeFilesystem)
	}
	RoundResources(s.Capacity)
	if s.HostPath != nil {
		DefaultHostPath(s.HostPath)
	}
	if s.AzureDisk != nil {
		DefaultAzureDisk(s.AzureDisk)
	}
	if s.ISCSI != nil {
		defaultString(&s.ISCSI.ISCSIInterface, "default")
	}
	if r := s.RBD; r != nil {
		defaultString(&r.RBDPool, "rbd")
		defaultString(&r.RadosUser, "admin")
		defaultString(&r.Keyring, "/etc/ceph/keyring")
	}
	if s.ScaleIO != nil {
		defaultString(&s.ScaleIO.StorageMode, "ThinProvisioned")
		defaultString(&s.ScaleIO.FSType, "xfs")
	}
}
