package csrcleaner

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestPlan reads lines "created AGO", "CONDITION AGO" and "certificate LEFT".
func TestPlan(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		r := &certificatesv1.CertificateSigningRequest{}
		for _, line := range in {
			word, rest, _ := strings.Cut(line, " ")
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			then := metav1.NewTime(now.Add(-d))
			switch word {
			case "created":
				r.CreationTimestamp = then
			case "certificate":
				c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: now.Add(d)}
				der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
				if err != nil {
					t.Fatal(err)
				}
				r.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			default:
				r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
					Type: certificatesv1.RequestConditionType(word), Status: corev1.ConditionTrue, LastUpdateTime: then,
				})
			}
		}
		switch keep := plan(r, now); {
		case keep < 0:
			return "keep"
		case keep == 0:
			return "delete"
		default:
			return "keep for " + keep.String()
		}
	})
}
