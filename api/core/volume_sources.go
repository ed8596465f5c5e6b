package core

import (
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// volumeSources lists the sources in the order in which they are checked: of
// two, the later one is the one too many.
var volumeSources = []sourceCheck{
	{"emptyDir", func(s *corev1.VolumeSource) bool { return s.EmptyDir != nil }, checkEmptyDir},
	{"hostPath", func(s *corev1.VolumeSource) bool { return s.HostPath != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateHostPath(s.HostPath, p.Child("hostPath"))
	}},
	{"gitRepo", func(s *corev1.VolumeSource) bool { return s.GitRepo != nil }, checkGitRepo},
	{"gcePersistentDisk", func(s *corev1.VolumeSource) bool { return s.GCEPersistentDisk != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateGCEDisk(s.GCEPersistentDisk, p.Child("persistentDisk"))
	}},
	{"awsElasticBlockStore", func(s *corev1.VolumeSource) bool { return s.AWSElasticBlockStore != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateEBS(s.AWSElasticBlockStore, p.Child("awsElasticBlockStore"))
	}},
	{"secret", func(s *corev1.VolumeSource) bool { return s.Secret != nil }, checkSecretVolume},
	{"nfs", func(s *corev1.VolumeSource) bool { return s.NFS != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateNFS(s.NFS, p.Child("nfs"))
	}},
	{"iscsi", func(s *corev1.VolumeSource) bool { return s.ISCSI != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		c := s.ISCSI
		i := iscsiTarget{c.TargetPortal, c.IQN, c.Lun, c.DiscoveryCHAPAuth || c.SessionCHAPAuth, c.SecretRef != nil, c.InitiatorName}
		return i.validate(p.Child("iscsi"))
	}},
	{"glusterfs", func(s *corev1.VolumeSource) bool { return s.Glusterfs != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("glusterfs"), "endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path)
	}},
	{"flocker", func(s *corev1.VolumeSource) bool { return s.Flocker != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateFlocker(s.Flocker, p.Child("flocker"))
	}},
	{"persistentVolumeClaim", func(s *corev1.VolumeSource) bool { return s.PersistentVolumeClaim != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("persistentVolumeClaim"), "claimName", s.PersistentVolumeClaim.ClaimName)
	}},
	{"rbd", func(s *corev1.VolumeSource) bool { return s.RBD != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateRBD(s.RBD.CephMonitors, s.RBD.RBDImage, p.Child("rbd"))
	}},
	{"cinder", func(s *corev1.VolumeSource) bool { return s.Cinder != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		p = p.Child("cinder")
		return append(required(p, "volumeID", s.Cinder.VolumeID), secretRefName(s.Cinder.SecretRef, p, "secretRef")...)
	}},
	{"cephfs", func(s *corev1.VolumeSource) bool { return s.CephFS != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateCephFS(s.CephFS.Monitors, p.Child("cephfs"))
	}},
	{"quobyte", func(s *corev1.VolumeSource) bool { return s.Quobyte != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateQuobyte(s.Quobyte, p.Child("quobyte"))
	}},
	{"downwardAPI", func(s *corev1.VolumeSource) bool { return s.DownwardAPI != nil }, checkDownwardAPI},
	{"fc", func(s *corev1.VolumeSource) bool { return s.FC != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateFC(s.FC, p.Child("fc"))
	}},
	{"flexVolume", func(s *corev1.VolumeSource) bool { return s.FlexVolume != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateFlex(s.FlexVolume.Driver, s.FlexVolume.Options, p.Child("flexVolume"))
	}},
	{"configMap", func(s *corev1.VolumeSource) bool { return s.ConfigMap != nil }, checkConfigMapVolume},
	{"azureFile", func(s *corev1.VolumeSource) bool { return s.AzureFile != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("azureFile"), "secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName)
	}},
	{"vsphereVolume", func(s *corev1.VolumeSource) bool { return s.VsphereVolume != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("vsphereVolume"), "volumePath", s.VsphereVolume.VolumePath)
	}},
	{"photonPersistentDisk", func(s *corev1.VolumeSource) bool { return s.PhotonPersistentDisk != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("photonPersistentDisk"), "pdID", s.PhotonPersistentDisk.PdID)
	}},
	{"portworxVolume", func(s *corev1.VolumeSource) bool { return s.PortworxVolume != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return required(p.Child("portworxVolume"), "volumeID", s.PortworxVolume.VolumeID)
	}},
	{"azureDisk", func(s *corev1.VolumeSource) bool { return s.AzureDisk != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateAzureDisk(s.AzureDisk, p.Child("azureDisk"))
	}},
	{"storageos", func(s *corev1.VolumeSource) bool { return s.StorageOS != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		secret := s.StorageOS.SecretRef
		return validateStorageOS(s.StorageOS.VolumeName, s.StorageOS.VolumeNamespace, secret != nil && secret.Name == "", p.Child("storageos"))
	}},
	{"projected", func(s *corev1.VolumeSource) bool { return s.Projected != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateProjected(s.Projected, p.Child("projected"))
	}},
	{"scaleIO", func(s *corev1.VolumeSource) bool { return s.ScaleIO != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateScaleIO(s.ScaleIO.Gateway, s.ScaleIO.System, s.ScaleIO.VolumeName, p.Child("scaleIO"))
	}},
	{"csi", func(s *corev1.VolumeSource) bool { return s.CSI != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		p = p.Child("csi")
		return append(validateCSIDriverName(s.CSI.Driver, p.Child("driver")), secretRefName(s.CSI.NodePublishSecretRef, p, "nodePublishSecretRef")...)
	}},
	{"ephemeral", func(s *corev1.VolumeSource) bool { return s.Ephemeral != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		return validateEphemeralVolume(s.Ephemeral, p.Child("ephemeral"))
	}},
	{"image", func(s *corev1.VolumeSource) bool { return s.Image != nil }, func(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
		p = p.Child("image")
		return append(required(p, "reference", s.Image.Reference), validatePullPolicy(s.Image.PullPolicy, p.Child("pullPolicy"))...)
	}},
}

func checkEmptyDir(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	if s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0 {
		return field.ErrorList{field.Forbidden(p.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")}
	}
	return nil
}

func checkGitRepo(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	p = p.Child("gitRepo")
	return append(required(p, "repository", s.GitRepo.Repository), descendingPath(s.GitRepo.Directory, p.Child("directory"))...)
}

func checkSecretVolume(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	p = p.Child("secret")
	errs := required(p, "secretName", s.Secret.SecretName)
	errs = append(errs, fileMode(s.Secret.DefaultMode, p, "defaultMode")...)
	return append(errs, keysToPaths(s.Secret.Items, p.Child("items"))...)
}

func checkConfigMapVolume(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	p = p.Child("configMap")
	errs := required(p, "name", s.ConfigMap.Name)
	errs = append(errs, fileMode(s.ConfigMap.DefaultMode, p, "defaultMode")...)
	return append(errs, keysToPaths(s.ConfigMap.Items, p.Child("items"))...)
}

// validateHostPath checks a directory or file of the node.
func validateHostPath(h *corev1.HostPathVolumeSource, p *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(p.Child("path"), "")}
	}
	errs := noBacksteps(h.Path, p.Child("path"))
	if h.Type != nil {
		errs = append(errs, check.OneOfSorted(p.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathBlockDev,
			corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile,
			corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
	}
	return errs
}

// diskPartition takes 0 for the whole disk, though the message does not say so.
func diskPartition(n int32, p *field.Path) field.ErrorList {
	if n >= 0 && n <= 255 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child("partition"), n, utilvalidation.InclusiveRangeError(1, 255))}
}

func validateGCEDisk(d *corev1.GCEPersistentDiskVolumeSource, p *field.Path) field.ErrorList {
	return append(required(p, "pdName", d.PDName), diskPartition(d.Partition, p)...)
}

func validateEBS(d *corev1.AWSElasticBlockStoreVolumeSource, p *field.Path) field.ErrorList {
	return append(required(p, "volumeID", d.VolumeID), diskPartition(d.Partition, p)...)
}

func validateNFS(n *corev1.NFSVolumeSource, p *field.Path) field.ErrorList {
	errs := required(p, "server", n.Server, "path", n.Path)
	if !strings.HasPrefix(n.Path, "/") {
		errs = append(errs, field.Invalid(p.Child("path"), n.Path, "must be an absolute path"))
	}
	return errs
}

func validateFlocker(f *corev1.FlockerVolumeSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case f.DatasetName == "" && f.DatasetUUID == "":
		errs = append(errs, field.Required(p, "one of datasetName and datasetUUID is required"))
	case f.DatasetName != "" && f.DatasetUUID != "":
		errs = append(errs, field.Invalid(p, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
	}
	if strings.Contains(f.DatasetName, "/") {
		errs = append(errs, field.Invalid(p.Child("datasetName"), f.DatasetName, "must not contain '/'"))
	}
	return errs
}

func validateRBD(monitors []string, image string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(monitors) == 0 {
		errs = append(errs, field.Required(p.Child("monitors"), ""))
	}
	return append(errs, required(p, "image", image)...)
}

func validateCephFS(monitors []string, p *field.Path) field.ErrorList {
	if len(monitors) == 0 {
		return field.ErrorList{field.Required(p.Child("monitors"), "")}
	}
	return nil
}

func validateQuobyte(q *corev1.QuobyteVolumeSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	const pairs = "must be a host:port pair or multiple pairs separated by commas"
	switch {
	case q.Registry == "":
		errs = append(errs, field.Required(p.Child("registry"), pairs))
	case len(q.Tenant) >= 65:
		errs = append(errs, field.Invalid(p.Child("tenant"), q.Tenant, "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for pair := range strings.SplitSeq(q.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(p.Child("registry"), q.Registry, pairs))
			}
		}
	}
	return append(errs, required(p, "volume", q.Volume)...)
}

func validateFC(f *corev1.FCVolumeSource, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case len(f.TargetWWNs) == 0 && len(f.WWIDs) == 0:
		errs = append(errs, field.Required(p.Child("targetWWNs"), "must specify either targetWWNs or wwids, but not both"))
	case len(f.TargetWWNs) > 0 && len(f.WWIDs) > 0:
		errs = append(errs, field.Invalid(p.Child("targetWWNs"), f.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(f.TargetWWNs) > 0 {
		if f.Lun == nil {
			errs = append(errs, field.Required(p.Child("lun"), "lun is required if targetWWNs is specified"))
		} else if *f.Lun < 0 || *f.Lun > 255 {
			errs = append(errs, field.Invalid(p.Child("lun"), *f.Lun, utilvalidation.InclusiveRangeError(0, 255)))
		}
	}
	return errs
}

// validateFlex checks a FlexVolume; Kubernetes passes options of its own to
// the driver, under names that users may not take.
func validateFlex(driver string, options map[string]string, p *field.Path) field.ErrorList {
	errs := required(p, "driver", driver)
	for k := range options {
		namespace, _, _ := strings.Cut(k, "/")
		n := "." + strings.ToLower(namespace)
		if strings.HasSuffix(n, ".kubernetes.io") || strings.HasSuffix(n, ".k8s.io") {
			errs = append(errs, field.Invalid(p.Child("options").Key(k), k, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func validateAzureDisk(d *corev1.AzureDiskVolumeSource, p *field.Path) field.ErrorList {
	errs := required(p, "diskName", d.DiskName, "diskURI", d.DataDiskURI)
	if d.CachingMode != nil {
		errs = append(errs, check.OneOfSorted(p.Child("cachingMode"), *d.CachingMode, corev1.AzureDataDiskCachingNone,
			corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if d.Kind == nil {
		return errs
	}
	errs = append(errs, check.OneOfSorted(p.Child("kind"), *d.Kind, corev1.AzureSharedBlobDisk,
		corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk)...)
	prefix, form := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *d.Kind == corev1.AzureManagedDisk {
		prefix, form = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(d.DataDiskURI, prefix) {
		errs = append(errs, field.NotSupported(p.Child("diskURI"), d.DataDiskURI, []string{form}))
	}
	return errs
}

func validateStorageOS(volume, namespace string, namelessSecret bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if volume == "" {
		errs = append(errs, field.Required(p.Child("volumeName"), ""))
	} else {
		errs = append(errs, check.Label(p.Child("volumeName"), volume)...)
	}
	if namespace != "" {
		errs = append(errs, check.Label(p.Child("volumeNamespace"), namespace)...)
	}
	if namelessSecret {
		errs = append(errs, field.Required(p.Child("secretRef", "name"), ""))
	}
	return errs
}

func validateScaleIO(gateway, system, volume string, p *field.Path) field.ErrorList {
	return required(p, "gateway", gateway, "system", system, "volumeName", volume)
}

// validateCSIDriverName checks the name of a CSI driver, which unlike other
// names may have capitals.
func validateCSIDriverName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if len(name) > 63 {
		errs = append(errs, field.TooLong(p, name, 63))
	}
	return append(errs, check.Messages(p, name, utilvalidation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}
