package bootstrap

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// Certs looks after the certificates of a control plane node.
type Certs struct {
	*Node
	Cluster *kubeadm.ClusterConfiguration
	// WhenDue leaves alone what has a third of its life left or more.
	WhenDue bool
}

// entry is a certificate that can be renewed: a file of its own, or within a
// kubeconfig.
type entry struct {
	name, ca   string
	kubeconfig bool
}

// renewable in kubeadm's order and by its names.
var renewable = []entry{
	{"admin.conf", "ca", true},
	{"apiserver", "ca", false},
	{"apiserver-etcd-client", "etcd/ca", false},
	{"apiserver-kubelet-client", "ca", false},
	{"controller-manager.conf", "ca", true},
	{"etcd-healthcheck-client", "etcd/ca", false},
	{"etcd-peer", "etcd/ca", false},
	{"etcd-server", "etcd/ca", false},
	{"front-proxy-client", "front-proxy-ca", false},
	{"scheduler.conf", "ca", true},
	{"super-admin.conf", "ca", true},
}

// Renewable are the names that certs renew takes.
func Renewable() []string {
	out := make([]string, len(renewable))
	for i, e := range renewable {
		out[i] = e.name
	}
	return out
}

// file is the base name of a certificate: etcd's are in a directory.
func (e entry) file() string {
	if rest, ok := strings.CutPrefix(e.name, "etcd-"); ok {
		return "etcd/" + rest
	}
	return e.name
}

func (c *Certs) read(e entry) (*x509.Certificate, error) {
	if e.kubeconfig {
		path := c.path(layout.Kubernetes + "/" + e.name)
		k, err := kubeconfig.Read(path)
		if err != nil {
			return nil, err
		}
		cert, err := k.Certificate()
		if err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
		}
		return cert, nil
	}
	p, err := pki.Read(c.path(c.Cluster.CertificatesDir), e.file())
	if err != nil {
		return nil, err
	}
	return p.Cert, nil
}

// due tells whether a certificate has less than a third of its life left.
func due(cert *x509.Certificate, now time.Time) bool {
	return cert.NotAfter.Sub(now) < cert.NotAfter.Sub(cert.NotBefore)/3
}

// Renew makes certificates anew, all or one by its name; those that are not
// on this node are passed over when all are meant, and with WhenDue those with a
// third of their life left or more.
func (c *Certs) Renew(name string, now time.Time) error {
	if name != "all" && !slices.ContainsFunc(renewable, func(e entry) bool { return e.name == name }) {
		return fmt.Errorf("certificate %q is not known: expected all or one of %s", name, strings.Join(Renewable(), ", "))
	}
	var errs []error
	for _, e := range renewable {
		if name != "all" && name != e.name {
			continue
		}
		if err := c.renewOne(e, name == "all", now); err != nil {
			errs = append(errs, fmt.Errorf("renew certificate %s: %w", e.name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, "\nDone renewing certificates. Nothing has to be restarted: every component of the control plane reads its own again.")
	return nil
}

// renewOne renews a certificate; as one of all it is passed over where it is not
// on this node, and where its authority is elsewhere.
func (c *Certs) renewOne(e entry, ofAll bool, now time.Time) error {
	old, err := c.read(e)
	if ofAll && errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(c.Out, "MISSING! certificate %s\n", e.name)
		return nil
	}
	if err != nil {
		return err
	}
	if c.WhenDue && !due(old, now) {
		fmt.Fprintf(c.Out, "certificate %s is good until %s\n", e.name, old.NotAfter.UTC().Format("Jan 02, 2006 15:04 MST"))
		return nil
	}
	if ca, err := pki.Read(c.path(c.Cluster.CertificatesDir), e.ca); ofAll && (errors.Is(err, fs.ErrNotExist) || err == nil && ca.Key == nil) {
		fmt.Fprintf(c.Out, "certificate %s is not renewed: the key of its authority %s is not on this node\n", e.name, e.ca)
		return nil
	}
	if err := c.renew(e, old, now); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "certificate %s renewed\n", e.name)
	return nil
}

// RenewOf renews what one component of the control plane uses, for its new
// manifest to start with. Where the authority's key is elsewhere, so is that work.
func (c *Certs) RenewOf(component string, now time.Time) error {
	for _, e := range renewable {
		if users[e.name] != component {
			continue
		}
		old, err := c.read(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not on this node
		}
		if err != nil {
			return err
		}
		ca, err := pki.Read(c.path(c.Cluster.CertificatesDir), e.ca)
		if err != nil {
			return err
		}
		if ca.Key == nil {
			c.say("upgrade/staticpods", "Skipping the renewal of %s: the key of authority %q is not on this node", e.name, e.ca)
			continue
		}
		c.say("upgrade/staticpods", "Renewing %s certificate", e.name)
		if err := c.renew(e, old, now); err != nil {
			return fmt.Errorf("renew certificate %s: %w", e.name, err)
		}
	}
	return nil
}

// users are the components that start with a certificate.
var users = map[string]string{
	"etcd-server": "etcd", "etcd-peer": "etcd", "etcd-healthcheck-client": "etcd",
	"apiserver": "kube-apiserver", "apiserver-kubelet-client": "kube-apiserver", "apiserver-etcd-client": "kube-apiserver", "front-proxy-client": "kube-apiserver",
	"controller-manager.conf": "kube-controller-manager", "scheduler.conf": "kube-scheduler",
	"admin.conf": administrator, "super-admin.conf": administrator,
}

// administrator is no component, but has certificates too.
const administrator = "administrator"

func (c *Certs) renew(e entry, old *x509.Certificate, now time.Time) error {
	dir := c.path(c.Cluster.CertificatesDir)
	ca, err := pki.Read(dir, e.ca)
	if err != nil {
		return err
	}
	p, err := pki.Renewed(old, ca, c.Cluster.EncryptionAlgorithm, now, c.Cluster.CertificateValidityPeriod.Duration)
	if err != nil {
		return err
	}
	if !e.kubeconfig {
		return p.Write(dir, e.file())
	}
	path := c.path(layout.Kubernetes + "/" + e.name)
	k, err := kubeconfig.Read(path)
	if err != nil {
		return err
	}
	if err := k.SetCertificate(p); err != nil {
		return err
	}
	return k.Write(path)
}

// Expiration of one certificate, as kubeadm's output.kubeadm.k8s.io has it.
type Expiration struct {
	Name           string      `json:"name"`
	ExpirationDate metav1.Time `json:"expirationDate"`
	// ResidualTime in seconds.
	ResidualTime      int64  `json:"residualTime"`
	ExternallyManaged bool   `json:"externallyManaged"`
	CAName            string `json:"caName,omitempty"`
	Missing           bool   `json:"missing"`
}

// Expirations are those of a node's certificates and of their authorities.
type Expirations struct {
	metav1.TypeMeta        `json:",inline"`
	Certificates           []Expiration `json:"certificates"`
	CertificateAuthorities []Expiration `json:"certificateAuthorities"`
}

// Expirations looks at all certificates; those that are not there are in it too.
func (c *Certs) Expirations(now time.Time) (*Expirations, error) {
	out := &Expirations{TypeMeta: metav1.TypeMeta{APIVersion: OutputVersion, Kind: "CertificateExpirationInfo"}}
	external := map[string]bool{}
	for _, name := range []string{"ca", "etcd/ca", "front-proxy-ca"} {
		p, err := pki.Read(c.path(c.Cluster.CertificatesDir), name)
		var cert *x509.Certificate
		if err == nil {
			cert, external[name] = p.Cert, p.Key == nil
		}
		e, err := expiration(strings.ReplaceAll(name, "/", "-"), cert, err, now)
		if err != nil {
			return nil, err
		}
		e.ExternallyManaged = external[name]
		out.CertificateAuthorities = append(out.CertificateAuthorities, e)
	}
	for _, r := range renewable {
		cert, err := c.read(r)
		e, err := expiration(r.name, cert, err, now)
		if err != nil {
			return nil, err
		}
		e.CAName, e.ExternallyManaged = strings.ReplaceAll(r.ca, "/", "-"), external[r.ca]
		out.Certificates = append(out.Certificates, e)
	}
	return out, nil
}

func expiration(name string, cert *x509.Certificate, err error, now time.Time) (Expiration, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return Expiration{Name: name, Missing: true}, nil
	}
	if err != nil {
		return Expiration{}, err
	}
	return Expiration{Name: name, ExpirationDate: metav1.NewTime(cert.NotAfter.UTC()), ResidualTime: int64(cert.NotAfter.Sub(now) / time.Second)}, nil
}

// String is the table that certs check-expiration prints.
func (e *Expirations) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %-25s %-16s %-23s %s\n", "CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "CERTIFICATE AUTHORITY", "EXTERNALLY MANAGED")
	yes := map[bool]string{true: "yes", false: "no"}
	for _, c := range e.Certificates {
		if c.Missing {
			fmt.Fprintf(&b, "!MISSING! %s\n", c.Name)
			continue
		}
		fmt.Fprintf(&b, "%-26s %-25s %-16s %-23s %s\n", c.Name, c.expiry(), c.residual(), c.CAName, yes[c.ExternallyManaged])
	}
	fmt.Fprintf(&b, "\n%-24s %-25s %-16s %s\n", "CERTIFICATE AUTHORITY", "EXPIRES", "RESIDUAL TIME", "EXTERNALLY MANAGED")
	for _, c := range e.CertificateAuthorities {
		if c.Missing {
			fmt.Fprintf(&b, "!MISSING! %s\n", c.Name)
			continue
		}
		fmt.Fprintf(&b, "%-24s %-25s %-16s %s\n", c.Name, c.expiry(), c.residual(), yes[c.ExternallyManaged])
	}
	return b.String()
}

// OutputVersion is the version of what verbs print for programs.
const OutputVersion = "output.kubeadm.k8s.io/v1alpha3"

func (e *Expiration) expiry() string { return e.ExpirationDate.UTC().Format("Jan 02, 2006 15:04 MST") }

func (e *Expiration) residual() string {
	left := time.Duration(e.ResidualTime) * time.Second
	switch {
	case left <= 0:
		return "<invalid>"
	case left >= 2*365*24*time.Hour:
		return fmt.Sprintf("%dy", int(left.Hours())/(365*24))
	case left >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(left.Hours())/24)
	case left >= time.Hour:
		return fmt.Sprintf("%dh", int(left.Hours()))
	}
	return fmt.Sprintf("%dm", int(left.Minutes()))
}
