package satoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bot", UID: "1"}}
	secret := func(uid, token, ca string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", Annotations: map[string]string{corev1.ServiceAccountNameKey: "bot"}}, Data: map[string][]byte{"namespace": []byte("ns")}}
		if uid != "" {
			s.Annotations[corev1.ServiceAccountUIDKey] = uid
		}
		if token != "" {
			s.Data["token"] = []byte(token)
		}
		if ca != "" {
			s.Data["ca.crt"] = []byte(ca)
		}
		return s
	}
	for name, c := range map[string]struct {
		s       *corev1.Secret
		account *corev1.ServiceAccount
		want    string
	}{
		"new":               {secret("", "", ""), account, "fill"},
		"complete":          {secret("1", "t", "ca"), account, ""},
		"another authority": {secret("1", "t", "old"), account, "fill"},
		"no token":          {secret("1", "", "ca"), account, "fill"},
		"another account":   {secret("2", "t", "ca"), account, "delete"},
		"no account":        {secret("1", "t", "ca"), nil, "delete"},
	} {
		if got := plan(c.s, c.account, []byte("ca")).String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func writeKey(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTokens: tokens of every kind of key have the claims and a signature that
// holds.
func TestTokens(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bot", UID: "1"}}
	for name, path := range map[string]string{
		"RS256": writeKey(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"ES256": writeKey(t, "EC PRIVATE KEY", ecDER),
		"PKCS8": writeKey(t, "PRIVATE KEY", pkcs8),
	} {
		s, err := readSigner(path)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.token(account, "secret")
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		sig, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		switch s.alg {
		case "RS256":
			err = rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, sum[:], sig)
		default:
			if !ecdsa.Verify(&ecKey.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
				t.Errorf("%s: the signature does not hold", name)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]string
		if err := json.Unmarshal(raw, &claims); err != nil || claims["sub"] != "system:serviceaccount:ns:bot" || claims["kubernetes.io/serviceaccount/secret.name"] != "secret" {
			t.Errorf("%s: claims %s, error %v", name, raw, err)
		}
	}
	if _, err := readSigner(writeKey(t, "CERTIFICATE", []byte("x"))); err == nil {
		t.Error("a file without a key is accepted")
	}
}
