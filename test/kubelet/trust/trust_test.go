// Package trust shows how a node comes by its certificates: by a bootstrap
// token and the controller manager's approval, and then by its own.
package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// life of certificates. The signer dates them back by five minutes, and they
// are renewed after 70 to 90 % of that time: 48 seconds before they are made
// to 24 after.
const life = time.Minute

func stored(path string) (*x509.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

func TestCertificates(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("these tests run containers: run them as root")
	}
	n, err := nodetest.Start(nodetest.Options{
		Bootstrap: true, Config: "serverTLSBootstrap: true\nrotateCertificates: true\n", APIArgs: []string{"--enable-bootstrap-token-auth", "--authorization-mode=Node,RBAC"},
		Controllers: []string{"--controllers=*", "--cluster-signing-duration=" + life.String()},
	})
	t.Cleanup(func() {
		if t.Failed() && n != nil {
			t.Log(n.LastWords())
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(n.Dir, "pki", "kubelet-client-current.pem")
	var first *x509.Certificate
	nodetest.Until(t, "a client certificate", func() error {
		first, err = stored(current)
		return err
	})
	if want := "system:node:" + n.Name; first.Subject.CommonName != want || len(first.Subject.Organization) != 1 || first.Subject.Organization[0] != "system:nodes" {
		t.Errorf("it is of %s", first.Subject)
	}
	nodetest.Until(t, "the kubeconfig that uses it", func() error {
		raw, err := os.ReadFile(n.Identity())
		if err == nil && !strings.Contains(string(raw), "client-certificate: "+current) {
			err = fmt.Errorf("it is\n%s", raw)
		}
		return err
	})
	nodetest.Until(t, "the node", func() error {
		_, err := n.Client.CoreV1().Nodes().Get(t.Context(), n.Name, metav1.GetOptions{})
		return err
	})
	bootstrapped(t, n)
	serves(t, n)

	nodetest.Until(t, "another client certificate", func() error {
		next, err := stored(current)
		if err == nil && next.SerialNumber.Cmp(first.SerialNumber) == 0 {
			err = fmt.Errorf("it is the first, until %v", first.NotAfter)
		}
		return err
	})
	// Once the first has run out, only another can renew the lease.
	nodetest.Until(t, "the node lives on", func() error {
		lease, err := n.Client.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), n.Name, metav1.GetOptions{})
		if err == nil && !lease.Spec.RenewTime.After(first.NotAfter) {
			err = fmt.Errorf("its lease was renewed at %v; the first certificate ends at %v", lease.Spec.RenewTime, first.NotAfter)
		}
		return err
	})
}

// bootstrapped: the token asked, the controller manager approved and signed.
func bootstrapped(t *testing.T, n *nodetest.Node) {
	t.Helper()
	list, err := n.Client.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Username == "system:bootstrap:abcdef" && r.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName {
			if len(r.Status.Conditions) != 1 || r.Status.Conditions[0].Reason != "AutoApproved" {
				t.Errorf("conditions %+v", r.Status.Conditions)
			}
			return
		}
	}
	t.Errorf("no request of the bootstrap token among %d", len(list.Items))
}

// serves: the serving certificate is asked for, approved by a person, used,
// and renewed when its time comes.
func serves(t *testing.T, n *nodetest.Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := serving(t, n, nil)
	if first.VerifyHostname("10.77.1.1") != nil || first.VerifyHostname(n.Name) != nil || first.Subject.CommonName != "system:node:"+n.Name {
		t.Errorf("certificate of %s for %v %v", first.Subject, first.DNSNames, first.IPAddresses)
	}
	// The API server's own calls, which need it.
	nodetest.Until(t, "the node's API through the API server", func() error {
		out, err := n.Kubectl("get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/healthz")
		if err != nil || out != "ok" {
			return fmt.Errorf("%v: %s", err, out)
		}
		return ctx.Err()
	})
	serving(t, n, first)
}

// serving waits for a serving certificate other than old, approving what the
// node asks for.
func serving(t *testing.T, n *nodetest.Node, old *x509.Certificate) *x509.Certificate {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(n.Dir, "api", "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var out *x509.Certificate
	nodetest.Until(t, "a serving certificate", func() error {
		if err := approve(t.Context(), n); err != nil {
			return err
		}
		conn, err := n.Dial(t.Context(), "10.77.1.1:10250")
		if err != nil {
			return err
		}
		defer conn.Close()
		out, err = handshake(conn, roots)
		if err == nil && old != nil && out.SerialNumber.Cmp(old.SerialNumber) == 0 {
			err = fmt.Errorf("it is still that until %v", old.NotAfter)
		}
		return err
	})
	return out
}

func handshake(conn net.Conn, roots *x509.CertPool) (*x509.Certificate, error) {
	c := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "10.77.1.1"})
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func approve(ctx context.Context, n *nodetest.Node) error {
	list, err := n.Client.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.SignerName != certificatesv1.KubeletServingSignerName || len(r.Status.Conditions) > 0 {
			continue
		}
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "by the test"}}
		_, err := n.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, r.Name, r, metav1.UpdateOptions{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
