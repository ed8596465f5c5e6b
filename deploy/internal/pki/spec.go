// Package pki makes, checks and renews a cluster's certificates and keys, with
// kubeadm's names. What is needed is a list of values (Specs); writing it is
// apart.
package pki

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"xebec.dev/deploy/internal/kubeadm"
)

// Spec is one certificate.
type Spec struct {
	// Name of the files without suffix, below the certificates directory.
	Name string
	// CA is the Name of its authority; empty for authorities.
	CA   string
	CN   string
	Org  []string
	DNS  []string
	IPs  []net.IP
	Uses []x509.ExtKeyUsage
}

// Groups of administrators.
const (
	ClusterAdmins = "kubeadm:cluster-admins"
	Masters       = "system:masters"
)

var (
	client = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	server = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	both   = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
)

// Specs are the certificates of a control plane node, authorities first.
func Specs(c *kubeadm.ClusterConfiguration, node string, e kubeadm.APIEndpoint) ([]Spec, error) {
	api, err := apiServerNames(c, node, e)
	if err != nil {
		return nil, err
	}
	specs := []Spec{
		{Name: "ca", CN: "kubernetes", DNS: []string{"kubernetes"}},
		api,
		{Name: "apiserver-kubelet-client", CA: "ca", CN: "kube-apiserver-kubelet-client", Org: []string{ClusterAdmins}, Uses: client},
		{Name: "front-proxy-ca", CN: "front-proxy-ca", DNS: []string{"front-proxy-ca"}},
		{Name: "front-proxy-client", CA: "front-proxy-ca", CN: "front-proxy-client", Uses: client},
	}
	if c.Etcd.Local == nil {
		return specs, nil
	}
	etcd := func(name string, extra []string) Spec {
		s := Spec{Name: name, CA: "etcd/ca", CN: node, Uses: both, DNS: []string{node, "localhost"},
			IPs: []net.IP{net.ParseIP(e.AdvertiseAddress), net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
		s.add(extra...)
		return s
	}
	return append(specs,
		Spec{Name: "etcd/ca", CN: "etcd-ca", DNS: []string{"etcd-ca"}},
		etcd("etcd/server", c.Etcd.Local.ServerCertSANs),
		etcd("etcd/peer", c.Etcd.Local.PeerCertSANs),
		Spec{Name: "etcd/healthcheck-client", CA: "etcd/ca", CN: "kube-etcd-healthcheck-client", Uses: client},
		Spec{Name: "apiserver-etcd-client", CA: "etcd/ca", CN: "kube-apiserver-etcd-client", Uses: client},
	), nil
}

// Names are those of all certificates that Specs may have, in its order.
func Names() []string {
	return []string{"ca", "apiserver", "apiserver-kubelet-client", "front-proxy-ca", "front-proxy-client",
		"etcd/ca", "etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"}
}

func apiServerNames(c *kubeadm.ClusterConfiguration, node string, e kubeadm.APIEndpoint) (Spec, error) {
	s := Spec{Name: "apiserver", CA: "ca", CN: "kube-apiserver", Uses: server}
	s.add(node, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc."+c.Networking.DNSDomain)
	for subnet := range strings.SplitSeq(c.Networking.ServiceSubnet, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(subnet))
		if err != nil {
			return s, fmt.Errorf("networking.serviceSubnet: %w", err)
		}
		s.add(p.Masked().Addr().Next().String())
	}
	s.add(e.AdvertiseAddress)
	if c.ControlPlaneEndpoint != "" {
		host, _, err := net.SplitHostPort(c.ControlPlaneEndpoint)
		if err != nil {
			host = c.ControlPlaneEndpoint
		}
		s.add(host)
	}
	s.add(c.APIServer.CertSANs...)
	return s, nil
}

// add adds names and addresses, each once.
func (s *Spec) add(names ...string) {
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			if !slices.ContainsFunc(s.IPs, ip.Equal) {
				s.IPs = append(s.IPs, ip)
			}
		} else if !slices.Contains(s.DNS, n) {
			s.DNS = append(s.DNS, n)
		}
	}
}

// String is the certificate in one line.
func (s Spec) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s CN=%s", s.Name, s.CN)
	if s.CA == "" {
		b.WriteString(" authority")
	} else {
		fmt.Fprintf(&b, " by %s", s.CA)
	}
	for _, o := range s.Org {
		b.WriteString(" O=" + o)
	}
	for _, u := range s.Uses {
		b.WriteString(map[x509.ExtKeyUsage]string{x509.ExtKeyUsageClientAuth: " client", x509.ExtKeyUsageServerAuth: " server"}[u])
	}
	for _, d := range s.DNS {
		b.WriteString(" dns:" + d)
	}
	for _, ip := range s.IPs {
		b.WriteString(" ip:" + ip.String())
	}
	return b.String()
}
