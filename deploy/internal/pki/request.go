package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
)

// Request is a key and what asks an authority elsewhere to sign for it.
type Request struct {
	KeyPEM, CSRPEM []byte
}

var (
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidOfUse       = map[x509.ExtKeyUsage]asn1.ObjectIdentifier{
		x509.ExtKeyUsageServerAuth: {1, 3, 6, 1, 5, 5, 7, 3, 1},
		x509.ExtKeyUsageClientAuth: {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
)

// NewRequest makes the request for a certificate, with all that Issue would
// write into it but the times.
func NewRequest(s Spec, algorithm string) (*Request, error) {
	key, err := NewKey(algorithm)
	if err != nil {
		return nil, err
	}
	// Bits are counted from the left: digitalSignature, then keyEncipherment.
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{1<<7 | 1<<5}, BitLength: 3})
	if err != nil {
		return nil, err
	}
	var uses []asn1.ObjectIdentifier
	for _, u := range s.Uses {
		uses = append(uses, oidOfUse[u])
	}
	extended, err := asn1.Marshal(uses)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: s.CN, Organization: s.Org},
		DNSNames: s.DNS, IPAddresses: s.IPs,
		ExtraExtensions: []pkix.Extension{{Id: oidKeyUsage, Critical: true, Value: usage}, {Id: oidExtKeyUsage, Value: extended}},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("request for certificate %s: %w", s.Name, err)
	}
	r := &Request{CSRPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})}
	r.KeyPEM, err = keyPEM(key)
	return r, err
}
