// Package csrcleaner deletes certificate signing requests that nobody will
// look at again.
package csrcleaner

import (
	"crypto/x509"
	"encoding/pem"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/controller-manager/internal/csr"
)

// For how long requests are kept.
const (
	keepDecided = time.Hour // issued, denied or failed
	keepPending = 24 * time.Hour
)

// plan says how long a request is to be kept from now: 0 is to be deleted now,
// less than 0 as long as it does not change.
func plan(r *certificatesv1.CertificateSigningRequest, now time.Time) time.Duration {
	end, ok := ends(r)
	if !ok {
		return -1
	}
	return max(end.Sub(now), 0)
}

func ends(r *certificatesv1.CertificateSigningRequest) (end time.Time, ok bool) {
	at := func(t time.Time) {
		if !ok || t.Before(end) {
			end, ok = t, true
		}
	}
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		decided := c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed ||
			c.Type == certificatesv1.CertificateApproved && len(r.Status.Certificate) > 0
		if decided && csr.Condition(r, c.Type) != nil {
			at(c.LastUpdateTime.Add(keepDecided))
		}
	}
	if len(r.Status.Conditions) == 0 {
		at(r.CreationTimestamp.Add(keepPending))
	}
	if block, _ := pem.Decode(r.Status.Certificate); block != nil {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			at(c.NotAfter)
		}
	}
	return end, ok
}
