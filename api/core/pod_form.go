package core

import (
	corev1 "k8s.io/api/core/v1"
)

// The forms are a pod's spec as update errors show it: with the fields in the
// order, and host namespaces in the place, that users of those messages know.
type podSpecForm struct {
	Volumes                       []volumeForm
	InitContainers                []corev1.Container
	Containers                    []corev1.Container
	EphemeralContainers           []corev1.EphemeralContainer
	RestartPolicy                 corev1.RestartPolicy
	TerminationGracePeriodSeconds *int64
	ActiveDeadlineSeconds         *int64
	DNSPolicy                     corev1.DNSPolicy
	NodeSelector                  map[string]string
	ServiceAccountName            string
	AutomountServiceAccountToken  *bool
	NodeName                      string
	SecurityContext               *securityContextForm
	ImagePullSecrets              []corev1.LocalObjectReference
	Hostname                      string
	Subdomain                     string
	SetHostnameAsFQDN             *bool
	Affinity                      *corev1.Affinity
	SchedulerName                 string
	Tolerations                   []corev1.Toleration
	HostAliases                   []corev1.HostAlias
	PriorityClassName             string
	Priority                      *int32
	PreemptionPolicy              *corev1.PreemptionPolicy
	DNSConfig                     *corev1.PodDNSConfig
	ReadinessGates                []corev1.PodReadinessGate
	RuntimeClassName              *string
	Overhead                      corev1.ResourceList
	EnableServiceLinks            *bool
	TopologySpreadConstraints     []corev1.TopologySpreadConstraint
	OS                            *corev1.PodOS
	SchedulingGates               []corev1.PodSchedulingGate
	ResourceClaims                []corev1.PodResourceClaim
	Resources                     *corev1.ResourceRequirements
	HostnameOverride              *string
	SchedulingGroup               *corev1.PodSchedulingGroup
	EvictionResponders            []corev1.EvictionResponder
}

type securityContextForm struct {
	HostNetwork              bool
	HostPID                  bool
	HostIPC                  bool
	ShareProcessNamespace    *bool
	HostUsers                *bool
	SELinuxOptions           *corev1.SELinuxOptions
	WindowsOptions           *corev1.WindowsSecurityContextOptions
	RunAsUser                *int64
	RunAsGroup               *int64
	RunAsNonRoot             *bool
	SupplementalGroups       []int64
	SupplementalGroupsPolicy *corev1.SupplementalGroupsPolicy
	FSGroup                  *int64
	FSGroupChangePolicy      *corev1.PodFSGroupChangePolicy
	Sysctls                  []corev1.Sysctl
	SeccompProfile           *corev1.SeccompProfile
	AppArmorProfile          *corev1.AppArmorProfile
	SELinuxChangePolicy      *corev1.PodSELinuxChangePolicy
}

type volumeForm struct {
	Name                  string
	HostPath              *corev1.HostPathVolumeSource
	EmptyDir              *corev1.EmptyDirVolumeSource
	GCEPersistentDisk     *corev1.GCEPersistentDiskVolumeSource
	AWSElasticBlockStore  *corev1.AWSElasticBlockStoreVolumeSource
	GitRepo               *corev1.GitRepoVolumeSource
	Secret                *corev1.SecretVolumeSource
	NFS                   *corev1.NFSVolumeSource
	ISCSI                 *corev1.ISCSIVolumeSource
	Glusterfs             *corev1.GlusterfsVolumeSource
	PersistentVolumeClaim *corev1.PersistentVolumeClaimVolumeSource
	RBD                   *corev1.RBDVolumeSource
	Quobyte               *corev1.QuobyteVolumeSource
	FlexVolume            *corev1.FlexVolumeSource
	Cinder                *corev1.CinderVolumeSource
	CephFS                *corev1.CephFSVolumeSource
	Flocker               *corev1.FlockerVolumeSource
	DownwardAPI           *corev1.DownwardAPIVolumeSource
	FC                    *corev1.FCVolumeSource
	AzureFile             *corev1.AzureFileVolumeSource
	ConfigMap             *corev1.ConfigMapVolumeSource
	VsphereVolume         *corev1.VsphereVirtualDiskVolumeSource
	AzureDisk             *corev1.AzureDiskVolumeSource
	PhotonPersistentDisk  *corev1.PhotonPersistentDiskVolumeSource
	Projected             *corev1.ProjectedVolumeSource
	PortworxVolume        *corev1.PortworxVolumeSource
	ScaleIO               *corev1.ScaleIOVolumeSource
	StorageOS             *corev1.StorageOSVolumeSource
	CSI                   *corev1.CSIVolumeSource
	Ephemeral             *corev1.EphemeralVolumeSource
	Image                 *corev1.ImageVolumeSource
}

func formOfSpec(s *corev1.PodSpec) *podSpecForm {
	f := &podSpecForm{
		InitContainers: s.InitContainers, Containers: s.Containers, EphemeralContainers: s.EphemeralContainers,
		RestartPolicy: s.RestartPolicy, TerminationGracePeriodSeconds: s.TerminationGracePeriodSeconds,
		ActiveDeadlineSeconds: s.ActiveDeadlineSeconds, DNSPolicy: s.DNSPolicy, NodeSelector: s.NodeSelector,
		ServiceAccountName: s.ServiceAccountName, AutomountServiceAccountToken: s.AutomountServiceAccountToken,
		NodeName: s.NodeName, SecurityContext: formOfSecurity(s), ImagePullSecrets: s.ImagePullSecrets,
		Hostname: s.Hostname, Subdomain: s.Subdomain, SetHostnameAsFQDN: s.SetHostnameAsFQDN, Affinity: s.Affinity,
		SchedulerName: s.SchedulerName, Tolerations: s.Tolerations, HostAliases: s.HostAliases,
		PriorityClassName: s.PriorityClassName, Priority: s.Priority, PreemptionPolicy: s.PreemptionPolicy,
		DNSConfig: s.DNSConfig, ReadinessGates: s.ReadinessGates, RuntimeClassName: s.RuntimeClassName,
		Overhead: s.Overhead, EnableServiceLinks: s.EnableServiceLinks,
		TopologySpreadConstraints: s.TopologySpreadConstraints, OS: s.OS, SchedulingGates: s.SchedulingGates,
		ResourceClaims: s.ResourceClaims, Resources: s.Resources, HostnameOverride: s.HostnameOverride,
		SchedulingGroup: s.SchedulingGroup, EvictionResponders: s.EvictionResponders,
	}
	for i := range s.Volumes {
		f.Volumes = append(f.Volumes, formOfVolume(&s.Volumes[i]))
	}
	return f
}

func formOfSecurity(s *corev1.PodSpec) *securityContextForm {
	c := s.SecurityContext
	if c == nil {
		c = &corev1.PodSecurityContext{}
	}
	return &securityContextForm{
		HostNetwork: s.HostNetwork, HostPID: s.HostPID, HostIPC: s.HostIPC,
		ShareProcessNamespace: s.ShareProcessNamespace, HostUsers: s.HostUsers,
		SELinuxOptions: c.SELinuxOptions, WindowsOptions: c.WindowsOptions,
		RunAsUser: c.RunAsUser, RunAsGroup: c.RunAsGroup, RunAsNonRoot: c.RunAsNonRoot,
		SupplementalGroups: c.SupplementalGroups, SupplementalGroupsPolicy: c.SupplementalGroupsPolicy,
		FSGroup: c.FSGroup, FSGroupChangePolicy: c.FSGroupChangePolicy, Sysctls: c.Sysctls,
		SeccompProfile: c.SeccompProfile, AppArmorProfile: c.AppArmorProfile, SELinuxChangePolicy: c.SELinuxChangePolicy,
	}
}

func formOfVolume(v *corev1.Volume) volumeForm {
	return volumeForm{
		Name: v.Name, HostPath: v.HostPath, EmptyDir: v.EmptyDir, GCEPersistentDisk: v.GCEPersistentDisk,
		AWSElasticBlockStore: v.AWSElasticBlockStore, GitRepo: v.GitRepo, Secret: v.Secret, NFS: v.NFS,
		ISCSI: v.ISCSI, Glusterfs: v.Glusterfs, PersistentVolumeClaim: v.PersistentVolumeClaim, RBD: v.RBD,
		Quobyte: v.Quobyte, FlexVolume: v.FlexVolume, Cinder: v.Cinder, CephFS: v.CephFS, Flocker: v.Flocker,
		DownwardAPI: v.DownwardAPI, FC: v.FC, AzureFile: v.AzureFile, ConfigMap: v.ConfigMap,
		VsphereVolume: v.VsphereVolume, AzureDisk: v.AzureDisk, PhotonPersistentDisk: v.PhotonPersistentDisk,
		Projected: v.Projected, PortworxVolume: v.PortworxVolume, ScaleIO: v.ScaleIO, StorageOS: v.StorageOS,
		CSI: v.CSI, Ephemeral: v.Ephemeral, Image: v.Image,
	}
}
