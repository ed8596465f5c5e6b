package bootstrap

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/layout"
)

// Hosted is a control plane that the chart runs as Deployments in another
// cluster.
type Hosted struct {
	// Release and Namespace it is installed as; Secret is the chart's
	// controlPlane.secret, Port its controlPlane.port.
	Release, Namespace, Secret string
	Port                       int32
	// Dir keeps certificates and kubeconfigs: a second time makes no new ones.
	Dir string
}

// Server is where the hosted cluster's API is reached in its host cluster.
func (h *Hosted) Server() string {
	return fmt.Sprintf("https://%s-apiserver.%s.svc:%d", h.Release, h.Namespace, h.Port)
}

// Make gives the Secret that the chart's pods mount.
func (h *Hosted) Make(ctx context.Context, c *kubeadm.ClusterConfiguration, out io.Writer) (*corev1.Secret, error) {
	api, etcd := h.Release+"-apiserver", h.Release+"-etcd"
	c.Default()
	if c.Etcd.Local == nil {
		return nil, fmt.Errorf("etcd.external: its certificates are yours: put them into Secret %s by hand", h.Secret)
	}
	c.ControlPlaneEndpoint = strings.TrimPrefix(h.Server(), "https://")
	c.APIServer.CertSANs = append(c.APIServer.CertSANs, api, api+"."+h.Namespace, api+"."+h.Namespace+".svc."+c.Networking.DNSDomain)
	c.Etcd.Local.ServerCertSANs = append(c.Etcd.Local.ServerCertSANs, etcd, etcd+"."+h.Namespace, etcd+"."+h.Namespace+".svc")
	root := layout.Root(h.Dir)
	i := &Init{Node: &Node{Root: root, Write: root, Out: out, Hostname: h.Release}, Cluster: c, Config: &kubeadm.InitConfiguration{}}
	i.Config.Default(h.Release, "127.0.0.1")
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := i.RunPhase(ctx, "certs"); err != nil {
		return nil, err
	}
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: h.Secret, Namespace: h.Namespace}, Data: map[string][]byte{}}
	if err := h.kubeconfigs(ctx, i, s); err != nil {
		return nil, err
	}
	return s, h.certificates(i.path(c.CertificatesDir), s)
}

// kubeconfigs are those of the node, but all with the Service's name.
func (h *Hosted) kubeconfigs(ctx context.Context, i *Init, s *corev1.Secret) error {
	for _, name := range []string{layout.AdminConf, layout.SuperAdminConf, layout.ControllerManagerConf, layout.SchedulerConf} {
		if k, err := kubeconfig.Read(i.path(name)); err == nil && k.Clusters[0].Cluster.Server != h.Server() {
			return fmt.Errorf("%s names the server %s, not %s: %s is of another release", i.path(name), k.Clusters[0].Cluster.Server, h.Server(), h.Dir)
		}
	}
	i.Config.LocalAPIEndpoint.AdvertiseAddress = strings.TrimSuffix(strings.TrimPrefix(h.Server(), "https://"), fmt.Sprintf(":%d", h.Port))
	i.Config.LocalAPIEndpoint.BindPort = h.Port
	if err := i.RunPhase(ctx, "kubeconfig"); err != nil {
		return err
	}
	for _, name := range []string{layout.AdminConf, layout.ControllerManagerConf, layout.SchedulerConf} {
		raw, err := os.ReadFile(i.path(name))
		if err != nil {
			return err
		}
		s.Data[filepath.Base(name)] = raw
	}
	return nil
}

func (h *Hosted) certificates(dir string, s *corev1.Secret) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		s.Data[strings.ReplaceAll(name, "/", "-")], err = os.ReadFile(path)
		return err
	})
}
