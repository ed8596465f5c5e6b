package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/observedtest"
)

func pemOf(kind string, der []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestRequest(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	base := `{"spec":{"request":"` + pemOf("CERTIFICATE REQUEST", request) + `","signerName":"a.b/c","usages":["client auth"]}}`
	approved := `{"type":"Approved","status":"True"}`
	issued := `{"status":{"certificate":"` + pemOf("CERTIFICATE", certificate) + `"}}`
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "approval by status", Old: `{}`, Subresource: "status", Patch: `{"status":{"conditions":[` + approved + `]}}`,
			Want: []string{`status.conditions: Forbidden: updates may not add a condition of type "Approved"`}},
		{Name: "one type twice", Old: `{}`, Subresource: "approval", Patch: `{"status":{"conditions":[` + approved + `,` + approved + `]}}`,
			Want: []string{`status.conditions[1].type: Duplicate value: "Approved"`}},
		{Name: "other condition", Old: `{}`, Subresource: "status", Patch: `{"status":{"conditions":[{"type":"Other","status":"Maybe"}]}}`,
			Want: []string{`status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"`}},
		{Name: "certificate by approval is dropped", Old: `{}`, Subresource: "approval", Patch: issued},
		{Name: "issued", Old: `{}`, Subresource: "status", Patch: issued},
	})
}

func TestSignerName(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63)
	for name, want := range map[string]int{
		"example.com/a":            0,
		long + "/" + long:          0,
		"example.com/a_b.c_d":      1,
		"EXAMPLE.COM/a":            1,
		"example.com/":             1,
		"a/b/c":                    1,
		"":                         1,
		"kubernetes.io/serving.v2": 0,
	} {
		if errs := ValidateSignerName(field.NewPath("x"), name); len(errs) != want {
			t.Errorf("%q: %v, want %d errors", name, errs, want)
		}
	}
}
