package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/observedtest"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// certificate is PEM of a self-signed certificate.
func certificate(t *testing.T, key *ecdsa.PrivateKey, ca bool, begin time.Time, lasts time.Duration) string {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: begin.Add(lasts), IsCA: ca, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestTrustBundle(t *testing.T) {
	key, begin := newKey(t), time.Unix(1700000000, 0).UTC()
	ca, leaf := certificate(t, key, true, begin, time.Hour), certificate(t, key, false, begin, time.Hour)
	base := `{"apiVersion":"certificates.k8s.io/v1beta1","kind":"ClusterTrustBundle","metadata":{"name":"a.b"},"spec":{"trustBundle":` + quoted(ca) + `}}`
	bundle := func(text string) string { return `{"spec":{"trustBundle":` + quoted(text) + `}}` }
	const at = `spec.trustBundle: Invalid value: "<value omitted>": `
	observedtest.Attempts(t, trustBundles(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "of a signer", Patch: `{"metadata":{"name":"example.com:foo:v1"},"spec":{"signerName":"example.com/foo"}}`},
		{Name: "name of no signer", Patch: `{"metadata":{"name":"example.com:foo:v1"}}`,
			Want: []string{`metadata.name: Invalid value: "example.com:foo:v1": ClusterTrustBundle without signer name must not have ":" in its name`}},
		{Name: "name of another signer", Patch: `{"spec":{"signerName":"example.com/foo"}}`,
			Want: []string{`metadata.name: Invalid value: "a.b": ClusterTrustBundle for signerName example.com/foo must be named with prefix example.com:foo:`}},
		{Name: "empty", Patch: bundle(""), Want: []string{at + "at least one trust anchor must be provided"}},
		{Name: "twice", Patch: bundle(ca + ca), Want: []string{at + "entries 0 and 1 are duplicates"}},
		{Name: "not an authority", Patch: bundle(ca + leaf), Want: []string{at + "entry 1 does not have the CA bit set"}},
		{Name: "headers", Patch: bundle("-----BEGIN CERTIFICATE-----\na: b\n\nYQ==\n-----END CERTIFICATE-----\n"),
			Want: []string{at + "entry 0 has PEM block headers"}},
		{Name: "key", Patch: bundle("-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n"),
			Want: []string{at + "entry 0 has bad block type: PRIVATE KEY"}},
		{Name: "signer changes", Old: base, Patch: `{"spec":{"signerName":"example.com/foo"}}`, Want: []string{
			`metadata.name: Invalid value: "a.b": ClusterTrustBundle for signerName example.com/foo must be named with prefix example.com:foo:`,
			`spec.signerName: Invalid value: "example.com/foo": field is immutable`}},
	})
}

func TestPodRequest(t *testing.T) {
	key, other, begin := newKey(t), newKey(t), time.Unix(1700000000, 0).UTC()
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	base := `{"apiVersion":"certificates.k8s.io/v1beta1","kind":"PodCertificateRequest","metadata":{"name":"a","namespace":"n"},"spec":{"signerName":"example.com/foo",
		"podName":"p","podUID":"1","serviceAccountName":"s","serviceAccountUID":"2","nodeName":"n","nodeUID":"3","stubPKCS10Request":"` + base64.StdEncoding.EncodeToString(stub) + `"}}`
	issued := func(key *ecdsa.PrivateKey, lasts time.Duration) string {
		end := begin.Add(lasts)
		return fmt.Sprintf(`{"status":{"conditions":[{"type":"Issued","status":"True","reason":"R","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}],
			"certificateChain":%s,"notBefore":%q,"notAfter":%q,"beginRefreshAt":%q}}`, quoted(certificate(t, key, false, begin, lasts)),
			begin.Format(time.RFC3339), end.Format(time.RFC3339), end.Add(-time.Minute).Format(time.RFC3339))
	}
	const at = `status.certificateChain: Invalid value: "<value omitted>": `
	observedtest.Attempts(t, podRequests(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "short", Patch: `{"spec":{"maxExpirationSeconds":3599}}`, Want: []string{`spec.maxExpirationSeconds: Invalid value: 3599: must be in the range [3600, 7862400]`}},
		{Name: "long for Kubernetes", Patch: `{"spec":{"maxExpirationSeconds":86401,"signerName":"kubernetes.io/foo"}}`,
			Want: []string{`spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]`}},
		{Name: "no proof", Patch: `{"spec":{"stubPKCS10Request":null,"podUID":""}}`, Want: []string{
			`spec.podUID: Required value: must not be empty`, `spec.stubPKCS10Request: Required value: must be set`}},
		{Name: "annotation without a domain", Patch: `{"spec":{"unverifiedUserAnnotations":{"a":"b","x.y/z":"c"}}}`,
			Want: []string{`spec.unverifiedUserAnnotations: Invalid value: "a": key must be domain-prefixed`}},
		{Name: "issued", Old: base, Subresource: "status", Patch: issued(key, 2*time.Hour)},
		{Name: "issued to another", Old: base, Subresource: "status", Patch: issued(other, 2*time.Hour),
			Want: []string{at + "leaf certificate was not issued to the requested public key"}},
		{Name: "issued for long", Old: base, Subresource: "status", Patch: issued(key, 25*time.Hour),
			Want: []string{at + "leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)"}},
		{Name: "certificate without decision", Old: base, Subresource: "status", Patch: `{"status":{"certificateChain":"x"}}`,
			Want: []string{`status: Forbidden: non-condition status fields must not be set unless the request is issued`}},
		{Name: "denied and failed", Old: base, Subresource: "status", Patch: `{"status":{"conditions":[
				{"type":"Denied","status":"True","reason":"R","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"},
				{"type":"Failed","status":"True","reason":"R","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}`,
			Want: []string{`status.conditions[1].type: Invalid value: "Failed": There may be at most one condition with type "Issued", "Denied", or "Failed"`}},
	})
}

// The first form of the proof: the pod's UID, signed.
func TestProof(t *testing.T) {
	key := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	r := &podRequest{}
	r.Spec.PKIXPublicKey, r.Spec.PodUID, r.Spec.ProofOfPossession = public, "uid", []byte("x")
	if errs := validateProof(field.NewPath("spec"), &r.Spec); len(errs) != 1 {
		t.Errorf("a false proof: %v", errs)
	}
	digest := sha256.Sum256([]byte("uid"))
	if r.Spec.ProofOfPossession, err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
		t.Fatal(err)
	}
	if errs := validateProof(field.NewPath("spec"), &r.Spec); len(errs) != 0 {
		t.Errorf("a true proof: %v", errs)
	}
}
