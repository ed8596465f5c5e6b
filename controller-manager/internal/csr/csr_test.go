package csr

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPermits reads lines "signer NAME", "subject CN ORG...", "usages A,B",
// "dns", "ip", "email" and "uri".
func TestPermits(t *testing.T) {
	golden.Run(t, "testdata/permits.txt", func(t *testing.T, in []string) string {
		x, signer := &x509.CertificateRequest{}, ""
		var usages []certificatesv1.KeyUsage
		for _, line := range in {
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "signer":
				signer = "kubernetes.io/" + rest
			case "subject":
				words := strings.Fields(rest)
				x.Subject = pkix.Name{CommonName: words[0], Organization: words[1:]}
			case "usages":
				for u := range strings.SplitSeq(rest, ",") {
					usages = append(usages, certificatesv1.KeyUsage(u))
				}
			case "dns":
				x.DNSNames = []string{rest}
			case "ip":
				x.IPAddresses = []net.IP{net.ParseIP(rest)}
			case "email":
				x.EmailAddresses = []string{rest}
			case "uri":
				u, err := url.Parse(rest)
				if err != nil {
					t.Fatal(err)
				}
				x.URIs = []*url.URL{u}
			}
		}
		if err := Permits(signer, x, usages); err != nil {
			return err.Error()
		}
		return "permitted"
	})
}
