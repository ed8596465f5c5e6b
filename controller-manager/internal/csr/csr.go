// Package csr has what the controllers of certificate signing requests agree
// on: their state, and what the signers of Kubernetes permit. Everything here
// is pure.
package csr

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// Condition of a type that is true, nil when there is none.
func Condition(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequestCondition {
	for i := range r.Status.Conditions {
		if c := &r.Status.Conditions[i]; c.Type == t && (c.Status == corev1.ConditionTrue || c.Status == "") {
			return c
		}
	}
	return nil
}

// Parse reads the request in a request.
func Parse(raw []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

// Signers of Kubernetes.
const (
	APIServerClient = certificatesv1.KubeAPIServerClientSignerName
	KubeletClient   = certificatesv1.KubeAPIServerClientKubeletSignerName
	KubeletServing  = certificatesv1.KubeletServingSignerName
	LegacyUnknown   = "kubernetes.io/legacy-unknown"
)

// Permits says why a signer may not sign; nil is that it may.
func Permits(signer string, x *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch signer {
	case APIServerClient:
		return clientUsages(usages)
	case KubeletClient:
		return kubeletClient(x, usages)
	case KubeletServing:
		return kubeletServing(x, usages)
	}
	return nil
}

func clientUsages(usages []certificatesv1.KeyUsage) error {
	for _, u := range usages {
		if u != certificatesv1.UsageDigitalSignature && u != certificatesv1.UsageKeyEncipherment && u != certificatesv1.UsageClientAuth {
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !slices.Contains(usages, certificatesv1.UsageClientAuth) {
		return fmt.Errorf("missing required usage for client certificate: %s", certificatesv1.UsageClientAuth)
	}
	return nil
}

func kubeletClient(x *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(x.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(x.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(x.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed")
	case len(x.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	case len(x.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !strings.HasPrefix(x.Subject.CommonName, "system:node:"):
		return errors.New("subject common name does not begin with system:node: ")
	}
	return exactly(usages, certificatesv1.UsageClientAuth)
}

func kubeletServing(x *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(x.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(x.DNSNames)+len(x.IPAddresses) == 0:
		return errors.New("DNS or IP subjectAltName is required")
	case len(x.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed")
	case len(x.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !strings.HasPrefix(x.Subject.CommonName, "system:node:"):
		return errors.New("subject common name does not begin with system:node: ")
	}
	return exactly(usages, certificatesv1.UsageServerAuth)
}

// exactly one purpose, with a signature, and encipherment for keys that can.
func exactly(usages []certificatesv1.KeyUsage, purpose certificatesv1.KeyUsage) error {
	have := slices.Compact(slices.Sorted(slices.Values(usages)))
	without := slices.Sorted(slices.Values([]certificatesv1.KeyUsage{purpose, certificatesv1.UsageDigitalSignature}))
	with := slices.Sorted(slices.Values(append(slices.Clone(without), certificatesv1.UsageKeyEncipherment)))
	if slices.Equal(have, with) || slices.Equal(have, without) {
		return nil
	}
	return fmt.Errorf("usages did not match %v", with)
}
