// Package csrsigning issues the certificates of approved requests for the
// signers of Kubernetes.
package csrsigning

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/controller-manager/internal/csr"
)

const (
	// backdate is by how much clocks may be slow.
	backdate = 5 * time.Minute
	// short certificates are not shortened by that at their end.
	short = 8 * time.Hour
	// least is the shortest life that may be asked for.
	least = 10 * time.Minute
)

// Plan is what becomes of a request; the zero value is nothing.
type Plan struct {
	// Failed says why the request can't be signed.
	Failed string
	// Template of the certificate, without what the signer adds: its number.
	Template *x509.Certificate
}

func (p Plan) String() string {
	t := p.Template
	switch {
	case p.Failed != "":
		return "fail: " + p.Failed
	case t == nil:
		return ""
	}
	var names []string
	names = append(names, t.DNSNames...)
	for _, ip := range t.IPAddresses {
		names = append(names, ip.String())
	}
	return fmt.Sprintf("subject %s\nnames %s\nfrom %s to %s\nusage %b %v", t.Subject, strings.Join(names, " "),
		t.NotBefore.Format(time.RFC3339), t.NotAfter.Format(time.RFC3339), t.KeyUsage, t.ExtKeyUsage)
}

// plan decides about a request of a signer that certifies for at most ttl, by
// an authority that is valid until the end of time given.
func plan(r *certificatesv1.CertificateSigningRequest, ttl time.Duration, until, now time.Time) Plan {
	if len(r.Status.Certificate) > 0 || csr.Condition(r, certificatesv1.CertificateApproved) == nil ||
		csr.Condition(r, certificatesv1.CertificateDenied) != nil || csr.Condition(r, certificatesv1.CertificateFailed) != nil {
		return Plan{}
	}
	x, err := csr.Parse(r.Spec.Request)
	if err != nil {
		return Plan{Failed: fmt.Sprintf("unable to parse csr %q: %v", r.Name, err)}
	}
	if err := csr.Permits(r.Spec.SignerName, x, r.Spec.Usages); err != nil {
		return Plan{Failed: err.Error()}
	}
	if err := x.CheckSignature(); err != nil {
		return Plan{Failed: fmt.Sprintf("unable to verify certificate request signature: %v", err)}
	}
	t := &x509.Certificate{
		RawSubject: x.RawSubject, Subject: x.Subject, DNSNames: x.DNSNames, IPAddresses: x.IPAddresses, EmailAddresses: x.EmailAddresses, URIs: x.URIs,
		PublicKeyAlgorithm: x.PublicKeyAlgorithm, PublicKey: x.PublicKey, BasicConstraintsValid: true,
	}
	if err := purpose(t, r.Spec.Usages); err != nil {
		return Plan{Failed: err.Error()}
	}
	if s := r.Spec.ExpirationSeconds; s != nil {
		ttl = min(ttl, max(least, time.Duration(*s)*time.Second))
	}
	t.NotBefore = now.Add(-backdate)
	t.NotAfter = now.Add(ttl)
	if ttl >= short {
		t.NotAfter = t.NotAfter.Add(-backdate)
	}
	if t.NotAfter.After(until) {
		t.NotAfter = until
	}
	return Plan{Template: t}
}

var keyUsages = map[certificatesv1.KeyUsage]x509.KeyUsage{
	certificatesv1.UsageSigning:           x509.KeyUsageDigitalSignature,
	certificatesv1.UsageDigitalSignature:  x509.KeyUsageDigitalSignature,
	certificatesv1.UsageContentCommitment: x509.KeyUsageContentCommitment,
	certificatesv1.UsageKeyEncipherment:   x509.KeyUsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement:      x509.KeyUsageKeyAgreement,
	certificatesv1.UsageDataEncipherment:  x509.KeyUsageDataEncipherment,
	certificatesv1.UsageCertSign:          x509.KeyUsageCertSign,
	certificatesv1.UsageCRLSign:           x509.KeyUsageCRLSign,
	certificatesv1.UsageEncipherOnly:      x509.KeyUsageEncipherOnly,
	certificatesv1.UsageDecipherOnly:      x509.KeyUsageDecipherOnly,
}

var extendedUsages = map[certificatesv1.KeyUsage]x509.ExtKeyUsage{
	certificatesv1.UsageAny:             x509.ExtKeyUsageAny,
	certificatesv1.UsageServerAuth:      x509.ExtKeyUsageServerAuth,
	certificatesv1.UsageClientAuth:      x509.ExtKeyUsageClientAuth,
	certificatesv1.UsageCodeSigning:     x509.ExtKeyUsageCodeSigning,
	certificatesv1.UsageEmailProtection: x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageSMIME:           x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageIPsecEndSystem:  x509.ExtKeyUsageIPSECEndSystem,
	certificatesv1.UsageIPsecTunnel:     x509.ExtKeyUsageIPSECTunnel,
	certificatesv1.UsageIPsecUser:       x509.ExtKeyUsageIPSECUser,
	certificatesv1.UsageTimestamping:    x509.ExtKeyUsageTimeStamping,
	certificatesv1.UsageOCSPSigning:     x509.ExtKeyUsageOCSPSigning,
	certificatesv1.UsageMicrosoftSGC:    x509.ExtKeyUsageMicrosoftServerGatedCrypto,
	certificatesv1.UsageNetscapeSGC:     x509.ExtKeyUsageNetscapeServerGatedCrypto,
}

func purpose(t *x509.Certificate, usages []certificatesv1.KeyUsage) error {
	var unknown []string
	for _, u := range usages {
		if k, ok := keyUsages[u]; ok {
			t.KeyUsage |= k
		} else if e, ok := extendedUsages[u]; ok {
			if !slices.Contains(t.ExtKeyUsage, e) {
				t.ExtKeyUsage = append(t.ExtKeyUsage, e)
			}
		} else {
			unknown = append(unknown, string(u))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("unrecognized usage values: %q", unknown)
	}
	slices.Sort(t.ExtKeyUsage)
	return nil
}

// serialBits of a certificate's number, which nobody can guess.
const serialBits = 128

func serialLimit() *big.Int { return new(big.Int).Lsh(big.NewInt(1), serialBits) }
