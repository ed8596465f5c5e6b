// Package layout says where a node's files are: kubeadm's places, below a
// root that is "/" but for nodes that share a machine.
package layout

import "path/filepath"

// Root is the directory below which a node has its files.
type Root string

// Path is where a file of the node is on this machine.
func (r Root) Path(path string) string {
	if r == "" {
		return filepath.Clean(path)
	}
	return filepath.Join(string(r), path)
}

// Own says whether the node has a root of its own, so that paths the daemons
// would take by default have to be spelled out.
func (r Root) Own() bool { return r != "" && filepath.Clean(string(r)) != "/" }

// kubeadm's places.
const (
	Kubernetes      = "/etc/kubernetes"
	PKI             = "/etc/kubernetes/pki"
	Manifests       = "/etc/kubernetes/manifests"
	Kubelet         = "/var/lib/kubelet"
	KubeletConfig   = "/var/lib/kubelet/config.yaml"
	KubeletInstance = "/var/lib/kubelet/instance-config.yaml"
	KubeletFlags    = "/var/lib/kubelet/kubeadm-flags.env"
	KubeletPKI      = "/var/lib/kubelet/pki"
	Etcd            = "/var/lib/etcd"
	PodLogs         = "/var/log/pods"
	ContainerLogs   = "/var/log/containers"
	CNIBin          = "/opt/cni/bin"
	CNIConf         = "/etc/cni/net.d"
	CRISocket       = "/run/containerd/containerd.sock"

	AdminConf             = "/etc/kubernetes/admin.conf"
	SuperAdminConf        = "/etc/kubernetes/super-admin.conf"
	ControllerManagerConf = "/etc/kubernetes/controller-manager.conf"
	SchedulerConf         = "/etc/kubernetes/scheduler.conf"
	KubeletConf           = "/etc/kubernetes/kubelet.conf"
	BootstrapKubeletConf  = "/etc/kubernetes/bootstrap-kubelet.conf"
)
