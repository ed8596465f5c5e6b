package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xebec.dev/apiserver/internal/config"
)

func TestSurroundings(t *testing.T) {
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	s := &Server{cfg: &config.Config{Origins: []string{`//app\.example\.com$`}, HSTS: []string{"max-age=60", "includeSubDomains"}}}
	h, err := s.surroundings(served)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, origin, allowed string
		code                    int
	}{
		{"OPTIONS", "https://app.example.com", "https://app.example.com", 204},
		{"GET", "https://app.example.com", "https://app.example.com", 401},
		{"OPTIONS", "https://app.example.com.evil", "", 401},
		{"GET", "https://evil-app.example.com", "", 401},
		{"GET", "", "", 401},
	} {
		r := httptest.NewRequest(c.method, "/api", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code || w.Header().Get("Access-Control-Allow-Origin") != c.allowed {
			t.Errorf("%s from %q: %d %q", c.method, c.origin, w.Code, w.Header().Get("Access-Control-Allow-Origin"))
		}
		if got := w.Header().Get("Strict-Transport-Security"); got != "max-age=60; includeSubDomains" {
			t.Errorf("HSTS %q", got)
		}
	}
	for _, bad := range []config.Config{{Origins: []string{"example.com"}}, {Origins: []string{"//("}}, {HSTS: []string{"for-ever"}}} {
		if _, err := (&Server{cfg: &bad}).surroundings(served); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestGoAway(t *testing.T) {
	h := goAway(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 1)
	for major, want := range map[int]string{1: "", 2: "close"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor = major
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Connection"); got != want {
			t.Errorf("HTTP/%d: %q", major, got)
		}
	}
}

func TestNamedPairs(t *testing.T) {
	dir := t.TempDir()
	pair := func(name string) string {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(path+suffix, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path + ".crt," + path + ".key"
	}
	named, err := namedPairs([]string{pair("own.example.com"), pair("given.example.com") + ":*.wild.example,Exact.example"})
	if err != nil {
		t.Fatal(err)
	}
	pair("default")
	get := choose(named, &keyPair{cert: filepath.Join(dir, "default.crt"), key: filepath.Join(dir, "default.key")})
	for name, want := range map[string]string{
		"own.example.com": "own.example.com", "a.wild.example": "given.example.com", "exact.example": "given.example.com",
		"a.b.wild.example": "default", "given.example.com": "default", "": "default", "localhost": "default",
	} {
		c, err := get(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || c.Leaf.Subject.CommonName != want {
			t.Errorf("%q: %v, %v", name, c.Leaf.Subject.CommonName, err)
		}
	}
	for _, bad := range []string{"", "a", "a,", "/does/not/exist,/nor/this"} {
		if _, err := namedPairs([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
