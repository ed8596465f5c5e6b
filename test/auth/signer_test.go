package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	authenticationv1 "k8s.io/api/authentication/v1"

	signerpb "xebec.dev/proto/gen/plugin/signer/v1"
	"xebec.dev/test/apiservertest"
)

// signer has the keys of service accounts.
type signer struct {
	path string
	mu   sync.Mutex
	// guarded by mu.
	keys    map[string]*rsa.PrivateKey
	current string
	hidden  bool   // the current key is
	header  string // instead of the right one
	most    int64
}

func newSigner(t testing.TB) *signer {
	s := &signer{path: filepath.Join(short(t), "signer.sock"), keys: map[string]*rsa.PrivateKey{}, most: 7200}
	s.rotate(t, "first")
	return s
}

func (s *signer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *signer) rotate(t testing.TB, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.keys[id], s.current = key, id })
}

func (s *signer) serve(t testing.TB) (stop func()) {
	return socket(t, s.path, "v1.ExternalJWTSigner", method("Sign", s.sign), method("FetchKeys", s.fetch),
		method("Metadata", func(*signerpb.MetadataRequest) (*signerpb.MetadataResponse, error) {
			return &signerpb.MetadataResponse{MaxTokenExpirationSeconds: s.most}, nil
		}))
}

func (s *signer) sign(r *signerpb.SignJWTRequest) (*signerpb.SignJWTResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := s.header
	if header == "" {
		header = `{"alg":"RS256","kid":"` + s.current + `","typ":"JWT"}`
	}
	header = b64([]byte(header))
	sum := sha256.Sum256([]byte(header + "." + r.Claims))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.keys[s.current], crypto.SHA256, sum[:])
	return &signerpb.SignJWTResponse{Header: header, Signature: b64(sig)}, err
}

func (s *signer) fetch(*signerpb.FetchKeysRequest) (*signerpb.FetchKeysResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &signerpb.FetchKeysResponse{DataTimestamp: timestamppb.Now(), RefreshHintSeconds: 600}
	for id, key := range s.keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, &signerpb.Key{KeyId: id, Key: der, ExcludeFromOidcDiscovery: s.hidden && id == s.current})
	}
	return out, nil
}

func TestExternalSigner(t *testing.T) {
	t.Parallel()
	x := newSigner(t)
	// The server waits for a signer that comes late.
	late := time.AfterFunc(500*time.Millisecond, func() { x.serve(t) })
	t.Cleanup(func() { late.Stop() })
	s := accounts(t, "--service-account-signing-endpoint="+x.path)
	made := func() (string, *authenticationv1.TokenRequest) {
		t.Helper()
		long := int64(999999)
		r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{ExpirationSeconds: &long})
		if err != nil {
			t.Fatal(err)
		}
		header, err := base64.RawURLEncoding.DecodeString(strings.Split(r.Status.Token, ".")[0])
		if err != nil {
			t.Fatal(err)
		}
		var h struct{ Kid string }
		if err := json.Unmarshal(header, &h); err != nil {
			t.Fatal(err)
		}
		return h.Kid, r
	}
	id, first := made()
	if id != "first" || *first.Spec.ExpirationSeconds != 7200 {
		t.Errorf("key %s, %d s: want no more than the signer's 7200", id, *first.Spec.ExpirationSeconds)
	}
	robot := func(token string) {
		t.Helper()
		for _, d := range doors {
			got, err := d.who(t, s, bearer(token))
			if err != nil || got.Username != "system:serviceaccount:default:robot" {
				t.Errorf("%s: %v, %v", d.name, got, err)
			}
		}
	}
	robot(first.Status.Token)
	x.rotate(t, "second")
	var second *authenticationv1.TokenRequest
	eventually(t, "the second key", func() error {
		// A key that is not known is not looked for at every request.
		if _, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{}); err != nil {
			return err
		}
		if id, second = made(); id != "second" {
			return errors.New(id)
		}
		return nil
	})
	robot(second.Status.Token)
	robot(first.Status.Token)
	var keys struct{ Keys []struct{ Kid string } }
	if err := call(t, s, admin(t, s), http.MethodGet, "/openid/v1/jwks", nil, &keys); err != nil || len(keys.Keys) != 2 {
		t.Errorf("%+v, %v: want both keys", keys, err)
	}
	t.Run("bad headers", func(t *testing.T) {
		defer x.set(func() { x.header = "" })
		for _, header := range []string{
			`{"alg":"none","kid":"second","typ":"JWT"}`, `{"alg":"RS256","kid":"","typ":"JWT"}`, `{"alg":"RS256","kid":"second","typ":"x"}`,
			`{"alg":"RS256","kid":"second","typ":"JWT","jku":"https://x"}`, `{"alg":"RS256","kid":"first","typ":"JWT"}`, `{"alg":"RS256","kid":"third","typ":"JWT"}`, `x`,
		} {
			x.set(func() { x.header = header })
			if r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{}); err == nil {
				t.Errorf("%s gives %s", header, r.Status.Token)
			}
		}
	})
	// A hidden key verifies what it has signed, signs nothing new, and is not told.
	x.rotate(t, "third")
	x.set(func() { x.hidden = true })
	eventually(t, "the hidden key", func() error {
		_, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{})
		if err == nil || !strings.Contains(err.Error(), "is excluded from OIDC discovery docs") {
			return errors.New("not yet known")
		}
		return nil
	})
	if err := call(t, s, admin(t, s), http.MethodGet, "/openid/v1/jwks", nil, &keys); err != nil || len(keys.Keys) != 2 {
		t.Errorf("%+v, %v: want the two keys that are not hidden", keys, err)
	}
	if n := metric(t, s, `apiserver_externaljwt_sign_request_total{code="OK"}`); n < 4 {
		t.Errorf("signatures counted: %v", n)
	}
}

func TestExternalSignerConfiguration(t *testing.T) {
	t.Parallel()
	x := newSigner(t)
	x.serve(t)
	for want, args := range map[string][]string{
		"They are mutually exclusive":                                           {"--service-account-signing-endpoint=/x", "--service-account-key-file=/x"},
		"service-account-max-token-expiration cannot be set longer than the to": {"--service-account-signing-endpoint=" + x.path, "--service-account-max-token-expiration=3h"},
	} {
		out, err := exec.Command(apiservertest.Binary("kube-apiserver"), append(args, "--data-dir="+t.TempDir(), "--secure-port=0", "--bind-address=127.0.0.1")...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, %s: want %s", err, out, want)
		}
	}
}
