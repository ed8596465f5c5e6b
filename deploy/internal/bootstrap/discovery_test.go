package bootstrap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/pki"
)

const testToken = "abcdef.0123456789abcdef"

func sign(header, content, secret string) string {
	h := base64.RawURLEncoding.EncodeToString([]byte(header))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(h + "." + base64.RawURLEncoding.EncodeToString([]byte(content))))
	return h + ".." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestTrusted: cluster-info is believed when the token signed it and the
// authority in it has the given hash, and in no other case.
func TestTrusted(t *testing.T) {
	ca, err := pki.Issue(pki.Spec{Name: "ca", CN: "kubernetes"}, nil, "ECDSA-P256", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	info, err := kubeconfig.New("https://10.0.0.1:6443", ca.CertPEM(), "", "", kubeconfig.User{}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const header, secret = `{"alg":"HS256","kid":"abcdef"}`, "0123456789abcdef"
	good := sign(header, string(info), secret)
	for name, c := range map[string]struct {
		info, jws, hash string
		skip            bool
		want            string
	}{
		"good":             {string(info), good, pki.Hash(ca.Cert), false, ""},
		"hash not asked":   {string(info), good, "", true, ""},
		"other authority":  {string(info), good, "sha256:" + strings.Repeat("0", 64), false, "which is none of"},
		"changed content":  {strings.Replace(string(info), "10.0.0.1", "10.0.0.9", 1), good, pki.Hash(ca.Cert), false, "content was changed"},
		"other token":      {string(info), sign(header, string(info), "fedcba9876543210"), pki.Hash(ca.Cert), false, "not made with this token"},
		"other algorithm":  {string(info), sign(`{"alg":"none","kid":"abcdef"}`, string(info), secret), pki.Hash(ca.Cert), false, "expected HS256"},
		"other key's name": {string(info), sign(`{"alg":"HS256","kid":"zzzzzz"}`, string(info), secret), pki.Hash(ca.Cert), false, "expected HS256"},
		"attached":         {string(info), strings.Replace(good, "..", ".e30.", 1), pki.Hash(ca.Cert), false, "detached"},
		"not signed":       {string(info), "", pki.Hash(ca.Cert), false, "not signed for token abcdef"},
	} {
		data := map[string]string{"kubeconfig": c.info}
		if c.jws != "" {
			data["jws-kubeconfig-abcdef"] = c.jws
		}
		k, err := Trusted(data, &kubeadm.TokenDiscovery{Token: testToken, CACertHashes: []string{c.hash}, UnsafeSkipCAVerification: c.skip})
		switch {
		case c.want == "" && (err != nil || k.Clusters[0].Cluster.Server != "https://10.0.0.1:6443"):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, expected %q in it", name, err, c.want)
		}
	}
}

func TestSealAndUnseal(t *testing.T) {
	key, err := NewCertificateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCertificateKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := seal([]byte("a key"), key)
	if err != nil || strings.Contains(string(sealed), "a key") {
		t.Fatalf("sealed %q: %v", sealed, err)
	}
	if out, err := unseal(sealed, key); err != nil || string(out) != "a key" {
		t.Errorf("unsealed %q: %v", out, err)
	}
	if _, err := unseal(sealed, other); err == nil {
		t.Error("another key opens it")
	}
	for _, bad := range []string{"", "12", strings.Repeat("z", 64)} {
		if _, err := seal(nil, bad); err == nil {
			t.Errorf("key %q was taken", bad)
		}
	}
}
