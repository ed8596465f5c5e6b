package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// persistentSource is one kind of volume source: its name in the API and its
// rule, which is asked only when the source is set.
type persistentSource struct {
	name  string
	set   func(*corev1.PersistentVolumeSource) bool
	check func(s *corev1.PersistentVolumeSource, volume string, p *field.Path) field.ErrorList
}

// persistentSources lists the sources in the order in which they are checked:
// of two, the later one is the one too many.
var persistentSources = []persistentSource{
	{"hostPath", func(s *corev1.PersistentVolumeSource) bool { return s.HostPath != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateHostPath(s.HostPath, p.Child("hostPath"))
		}},
	{"gcePersistentDisk", func(s *corev1.PersistentVolumeSource) bool { return s.GCEPersistentDisk != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateGCEDisk(s.GCEPersistentDisk, p.Child("persistentDisk"))
		}},
	{"awsElasticBlockStore", func(s *corev1.PersistentVolumeSource) bool { return s.AWSElasticBlockStore != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateEBS(s.AWSElasticBlockStore, p.Child("awsElasticBlockStore"))
		}},
	{"glusterfs", func(s *corev1.PersistentVolumeSource) bool { return s.Glusterfs != nil }, validatePersistentGlusterfs},
	{"flocker", func(s *corev1.PersistentVolumeSource) bool { return s.Flocker != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateFlocker(s.Flocker, p.Child("flocker"))
		}},
	{"nfs", func(s *corev1.PersistentVolumeSource) bool { return s.NFS != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateNFS(s.NFS, p.Child("nfs"))
		}},
	{"rbd", func(s *corev1.PersistentVolumeSource) bool { return s.RBD != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateRBD(s.RBD.CephMonitors, s.RBD.RBDImage, p.Child("rbd"))
		}},
	{"quobyte", func(s *corev1.PersistentVolumeSource) bool { return s.Quobyte != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateQuobyte(s.Quobyte, p.Child("quobyte"))
		}},
	{"cephFS", func(s *corev1.PersistentVolumeSource) bool { return s.CephFS != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateCephFS(s.CephFS.Monitors, p.Child("cephfs"))
		}},
	{"iscsi", func(s *corev1.PersistentVolumeSource) bool { return s.ISCSI != nil }, validatePersistentISCSI},
	{"cinder", func(s *corev1.PersistentVolumeSource) bool { return s.Cinder != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			p = p.Child("cinder")
			return append(required(p, "volumeID", s.Cinder.VolumeID), secretReference(s.Cinder.SecretRef, p.Child("secretRef"))...)
		}},
	{"fc", func(s *corev1.PersistentVolumeSource) bool { return s.FC != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateFC(s.FC, p.Child("fc"))
		}},
	{"flexVolume", func(s *corev1.PersistentVolumeSource) bool { return s.FlexVolume != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateFlex(s.FlexVolume.Driver, s.FlexVolume.Options, p.Child("flexVolume"))
		}},
	{"azureFile", func(s *corev1.PersistentVolumeSource) bool { return s.AzureFile != nil }, validatePersistentAzureFile},
	{"vsphereVolume", func(s *corev1.PersistentVolumeSource) bool { return s.VsphereVolume != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return required(p.Child("vsphereVolume"), "volumePath", s.VsphereVolume.VolumePath)
		}},
	{"photonPersistentDisk", func(s *corev1.PersistentVolumeSource) bool { return s.PhotonPersistentDisk != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return required(p.Child("photonPersistentDisk"), "pdID", s.PhotonPersistentDisk.PdID)
		}},
	{"portworxVolume", func(s *corev1.PersistentVolumeSource) bool { return s.PortworxVolume != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return required(p.Child("portworxVolume"), "volumeID", s.PortworxVolume.VolumeID)
		}},
	{"azureDisk", func(s *corev1.PersistentVolumeSource) bool { return s.AzureDisk != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateAzureDisk(s.AzureDisk, p.Child("azureDisk"))
		}},
	{"scaleIO", func(s *corev1.PersistentVolumeSource) bool { return s.ScaleIO != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			return validateScaleIO(s.ScaleIO.Gateway, s.ScaleIO.System, s.ScaleIO.VolumeName, p.Child("scaleIO"))
		}},
	{"local", func(s *corev1.PersistentVolumeSource) bool { return s.Local != nil },
		func(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
			p = p.Child("local", "path")
			if s.Local.Path == "" {
				return field.ErrorList{field.Required(p, "")}
			}
			return noBacksteps(s.Local.Path, p)
		}},
	{"storageos", func(s *corev1.PersistentVolumeSource) bool { return s.StorageOS != nil }, validatePersistentStorageOS},
	{"csi", func(s *corev1.PersistentVolumeSource) bool { return s.CSI != nil }, validatePersistentCSI},
}

func validatePersistentGlusterfs(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
	p = p.Child("glusterfs")
	g := s.Glusterfs
	errs := required(p, "endpoints", g.EndpointsName, "path", g.Path)
	if ns := g.EndpointsNamespace; ns != nil && len(check.Label(p, *ns)) > 0 {
		errs = append(errs, field.Invalid(p.Child("endpointsNamespace"), *ns, "if the endpointnamespace is set, it must be a valid namespace name"))
	}
	return errs
}

func validatePersistentISCSI(s *corev1.PersistentVolumeSource, volume string, p *field.Path) field.ErrorList {
	p = p.Child("iscsi")
	c := s.ISCSI
	var errs field.ErrorList
	// The two make the name of the interface on the node.
	if c.InitiatorName != nil && len(volume)+len(":")+len(c.TargetPortal) > 64 {
		errs = append(errs, field.Invalid(p.Child("targetportal"), c.TargetPortal,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	target := iscsiTarget{c.TargetPortal, c.IQN, c.Lun, c.DiscoveryCHAPAuth || c.SessionCHAPAuth, c.SecretRef != nil, c.InitiatorName}
	errs = append(target.validate(p), errs...)
	if c.SecretRef != nil {
		errs = append(errs, required(p.Child("secretRef"), "name", c.SecretRef.Name)...)
	}
	return errs
}

func validatePersistentAzureFile(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
	p = p.Child("azureFile")
	f := s.AzureFile
	errs := required(p, "secretName", f.SecretName, "shareName", f.ShareName)
	if f.SecretNamespace != nil && *f.SecretNamespace == "" {
		errs = append(errs, field.Required(p.Child("secretNamespace"), ""))
	}
	return errs
}

func validatePersistentStorageOS(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
	p = p.Child("storageos")
	errs := validateStorageOS(s.StorageOS.VolumeName, s.StorageOS.VolumeNamespace, false, p)
	if ref := s.StorageOS.SecretRef; ref != nil {
		errs = append(errs, required(p.Child("secretRef"), "name", ref.Name, "namespace", ref.Namespace)...)
	}
	return errs
}

func validatePersistentCSI(s *corev1.PersistentVolumeSource, _ string, p *field.Path) field.ErrorList {
	p = p.Child("csi")
	c := s.CSI
	errs := append(validateCSIDriverName(c.Driver, p.Child("driver")), required(p, "volumeHandle", c.VolumeHandle)...)
	errs = append(errs, secretReference(c.ControllerPublishSecretRef, p.Child("controllerPublishSecretRef"))...)
	errs = append(errs, secretReference(c.ControllerExpandSecretRef, p.Child("controllerExpandSecretRef"))...)
	errs = append(errs, secretReference(c.NodePublishSecretRef, p.Child("nodePublishSecretRef"))...)
	return append(errs, secretReference(c.NodeExpandSecretRef, p.Child("nodeExpandSecretRef"))...)
}

// secretReference requires name and namespace of a reference that is given.
func secretReference(ref *corev1.SecretReference, p *field.Path) field.ErrorList {
	if ref == nil {
		return nil
	}
	return required(p, "name", ref.Name, "namespace", ref.Namespace)
}
