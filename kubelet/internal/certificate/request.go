package certificate

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

// Want describes a certificate to ask for.
type Want struct {
	Signer string
	Usages []certificatesv1.KeyUsage
	Node   string
	DNS    []string
	IPs    []net.IP
}

// ForClient is the identity of a node towards the API server.
func ForClient(node string) Want {
	return Want{
		Signer: certificatesv1.KubeAPIServerClientKubeletSignerName, Node: node,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
	}
}

// empty reports whether a serving certificate would be for no address: no
// signer takes that.
func (w Want) empty() bool {
	return w.Signer == certificatesv1.KubeletServingSignerName && len(w.DNS) == 0 && len(w.IPs) == 0
}

// ForServing is the identity of a node towards those who call it.
func ForServing(node string, addresses []corev1.NodeAddress) Want {
	w := Want{
		Signer: certificatesv1.KubeletServingSignerName, Node: node,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
	}
	for _, a := range addresses {
		switch a.Type {
		case corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalDNS:
			if ip := net.ParseIP(a.Address); ip == nil {
				w.DNS = appendNew(w.DNS, a.Address)
			}
		case corev1.NodeInternalIP, corev1.NodeExternalIP:
			if ip := net.ParseIP(a.Address); ip != nil {
				w.IPs = append(w.IPs, ip)
			}
		}
	}
	return w
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// Pauses between looks whether a request was answered.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
	// patience with one request: whoever approves by hand gets this long
	// before there is another.
	patience = 15 * time.Minute
)

// Ask has a certificate signed and gives it with its new key.
func (w Want) Ask(ctx context.Context, c *client.Client) (cert, key []byte, err error) {
	signer, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:" + w.Node, Organization: []string{"system:nodes"}},
		DNSNames: w.DNS, IPAddresses: w.IPs,
	}, signer)
	if err != nil {
		return nil, nil, err
	}
	csr, err := client.Create(ctx, c, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: w.Signer, Usages: w.Usages,
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("ask for a certificate of %s: %w", w.Signer, err)
	}
	cert, err = await(ctx, c, csr.Name)
	return cert, key, err
}

func await(ctx context.Context, c *client.Client, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		csr, err := client.Get[*certificatesv1.CertificateSigningRequest](ctx, c, "", name)
		switch {
		case apierrors.IsNotFound(err):
			return nil, fmt.Errorf("certificate signing request %s was deleted before it was answered", name)
		case err == nil:
			if cert, err := answer(csr); cert != nil || err != nil {
				return cert, err
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("certificate signing request %s was not answered (kubectl certificate approve %s would): %w", name, name, ctx.Err())
		}
	}
}

func answer(csr *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	for _, c := range csr.Status.Conditions {
		if c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed {
			return nil, fmt.Errorf("certificate signing request %s: %s, reason: %s, message: %s", csr.Name, c.Type, c.Reason, c.Message)
		}
	}
	if len(csr.Status.Certificate) == 0 {
		return nil, nil
	}
	return csr.Status.Certificate, nil
}
