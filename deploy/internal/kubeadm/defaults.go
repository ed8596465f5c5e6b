package kubeadm

import (
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/layout"
)

// What a cluster is made of unless it is told otherwise.
const (
	DefaultVersion         = "v1.37.2"
	DefaultImageRepository = "xebec.dev"
	DefaultServiceSubnet   = "10.96.0.0/12"
	DefaultDNSDomain       = "cluster.local"
	DefaultClusterName     = "kubernetes"
	DefaultBindPort        = 6443
	EtcdTag                = "v3.7.3"
	CoreDNSTag             = "v1.15.0"
	PauseTag               = "3.10.1"

	// ControlPlaneRole is the label and the taint of control plane nodes.
	ControlPlaneRole = "node-role.kubernetes.io/control-plane"
	// NodeTokenGroup is the group of bootstrap tokens that nodes join with.
	NodeTokenGroup = "system:bootstrappers:kubeadm:default-node-token"
)

func duration(to **metav1.Duration, d time.Duration) {
	if *to == nil {
		*to = &metav1.Duration{Duration: d}
	}
}

func text(to *string, v string) {
	if *to == "" {
		*to = v
	}
}

// Default fills in what a ClusterConfiguration leaves open.
func (c *ClusterConfiguration) Default() {
	c.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: "ClusterConfiguration"}
	text(&c.KubernetesVersion, DefaultVersion)
	if strings.HasPrefix(c.KubernetesVersion, "stable") {
		c.KubernetesVersion = DefaultVersion
	}
	if !strings.HasPrefix(c.KubernetesVersion, "v") {
		c.KubernetesVersion = "v" + c.KubernetesVersion
	}
	text(&c.CertificatesDir, layout.PKI)
	text(&c.ImageRepository, DefaultImageRepository)
	text(&c.ClusterName, DefaultClusterName)
	text(&c.EncryptionAlgorithm, "RSA-2048")
	text(&c.Networking.ServiceSubnet, DefaultServiceSubnet)
	text(&c.Networking.DNSDomain, DefaultDNSDomain)
	if c.Etcd.Local == nil && c.Etcd.External == nil {
		c.Etcd.Local = &LocalEtcd{}
	}
	if c.Etcd.Local != nil {
		text(&c.Etcd.Local.DataDir, layout.Etcd)
	}
	duration(&c.CertificateValidityPeriod, 365*24*time.Hour)
	duration(&c.CACertificateValidityPeriod, 10*365*24*time.Hour)
}

// Default fills in what timeouts leave open.
func (t *Timeouts) Default() {
	duration(&t.ControlPlaneComponentHealthCheck, 4*time.Minute)
	duration(&t.KubeletHealthCheck, 4*time.Minute)
	duration(&t.KubernetesAPICall, time.Minute)
	duration(&t.EtcdAPICall, 2*time.Minute)
	duration(&t.TLSBootstrap, 5*time.Minute)
	duration(&t.Discovery, 5*time.Minute)
	duration(&t.UpgradeManifests, 5*time.Minute)
}

// Default fills in what a registration leaves open. A nil list of taints
// means those of the role, an empty one means none.
func (n *NodeRegistration) Default(hostname string, controlPlane bool) {
	if n.Name == "" {
		n.Name = strings.ToLower(strings.TrimSpace(hostname))
	}
	text(&n.CRISocket, "unix://"+layout.CRISocket)
	if !strings.Contains(n.CRISocket, "://") {
		n.CRISocket = "unix://" + n.CRISocket
	}
	if n.ImagePullPolicy == "" {
		n.ImagePullPolicy = corev1.PullIfNotPresent
	}
	if n.ImagePullSerial == nil {
		yes := true
		n.ImagePullSerial = &yes
	}
	if n.Taints == nil && controlPlane {
		n.Taints = []corev1.Taint{{Key: ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}}
	}
}

// Default fills in what an InitConfiguration leaves open, from what the
// machine is: its name and the address of its default route.
func (c *InitConfiguration) Default(hostname, address string) {
	c.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: "InitConfiguration"}
	c.NodeRegistration.Default(hostname, true)
	c.LocalAPIEndpoint.Default(address)
	for i := range c.BootstrapTokens {
		c.BootstrapTokens[i].Default()
	}
	if c.Timeouts == nil {
		c.Timeouts = &Timeouts{}
	}
	c.Timeouts.Default()
}

// Default fills in what an endpoint leaves open.
func (e *APIEndpoint) Default(address string) {
	text(&e.AdvertiseAddress, address)
	if e.BindPort == 0 {
		e.BindPort = DefaultBindPort
	}
}

// Default fills in what a token leaves open.
func (t *BootstrapToken) Default() {
	if t.TTL == nil && t.Expires == nil {
		t.TTL = &metav1.Duration{Duration: 24 * time.Hour}
	}
	if len(t.Usages) == 0 {
		t.Usages = []string{"signing", "authentication"}
	}
	if len(t.Groups) == 0 {
		t.Groups = []string{NodeTokenGroup}
	}
}

// Default fills in what a JoinConfiguration leaves open.
func (c *JoinConfiguration) Default(hostname, address string) {
	c.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: "JoinConfiguration"}
	c.NodeRegistration.Default(hostname, c.ControlPlane != nil)
	text(&c.CACertPath, layout.PKI+"/ca.crt")
	if c.ControlPlane != nil {
		c.ControlPlane.LocalAPIEndpoint.Default(address)
	}
	if d := c.Discovery.BootstrapToken; d != nil {
		text(&c.Discovery.TLSBootstrapToken, d.Token)
		text(&d.Token, c.Discovery.TLSBootstrapToken)
	}
	if c.Timeouts == nil {
		c.Timeouts = &Timeouts{}
	}
	c.Timeouts.Default()
}

// Endpoint is HOST:PORT at which the cluster's API is reached: the control
// plane endpoint if there is one, else the node's own.
func (c *ClusterConfiguration) Endpoint(local APIEndpoint) string {
	if c.ControlPlaneEndpoint == "" {
		return net.JoinHostPort(local.AdvertiseAddress, fmt.Sprint(local.BindPort))
	}
	if _, _, err := net.SplitHostPort(c.ControlPlaneEndpoint); err == nil {
		return c.ControlPlaneEndpoint
	}
	return net.JoinHostPort(c.ControlPlaneEndpoint, fmt.Sprint(local.BindPort))
}

// Image names of a cluster, by component.
func (c *ClusterConfiguration) Image(component string) string {
	repo, tag := c.ImageRepository, c.KubernetesVersion
	override := func(m ImageMeta) {
		if m.ImageRepository != "" {
			repo = m.ImageRepository
		}
		if m.ImageTag != "" {
			tag = m.ImageTag
		}
	}
	switch component {
	case "etcd":
		tag = EtcdTag
		if c.Etcd.Local != nil {
			override(c.Etcd.Local.ImageMeta)
		}
	case "coredns":
		tag = CoreDNSTag
		override(c.DNS.ImageMeta)
	case "pause":
		tag = PauseTag
	}
	return repo + "/" + component + ":" + tag
}

// Images that a control plane node runs, in kubeadm's order.
func (c *ClusterConfiguration) Images() []string {
	names := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	if !c.Proxy.Disabled {
		names = append(names, "kube-proxy")
	}
	if !c.DNS.Disabled {
		names = append(names, "coredns")
	}
	names = append(names, "pause")
	if c.Etcd.Local != nil {
		names = append(names, "etcd")
	}
	images := make([]string, len(names))
	for i, n := range names {
		images[i] = c.Image(n)
	}
	return images
}
