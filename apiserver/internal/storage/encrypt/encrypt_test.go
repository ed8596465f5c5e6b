package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/secretbox"

	"xebec.dev/api/scheme"
)

const config = `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, deployments.apps]
  providers:
  - aesgcm: {keys: [{name: new, secret: MDEyMzQ1Njc4OWFiY2RlZg==}, {name: old, secret: YWJjZGVmMDEyMzQ1Njc4OQ==}]}
  - aescbc: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
  - secretbox: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
  - identity: {}
- resources: ['*.apps']
  providers: [{secretbox: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}]
- resources: ['*.']
  providers: [{identity: {}}]
`

var (
	key16 = []byte("0123456789abcdef")
	key32 = []byte("0123456789abcdef0123456789abcdef")
	text  = []byte("k8s\x00 the value")
	path  = "/registry/secrets/a/b"
)

func secrets(t *testing.T) *Providers {
	c, err := Parse([]byte(config), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Transformer(&scheme.Resource{Plural: "secrets"}).(*Providers)
}

// What Kubernetes writes, made here by hand.
func foreign(t *testing.T) map[string][]byte {
	block, err := aes.NewCipher(key16)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := cipher.NewGCM(block)
	nonce := []byte("nonce-nonce-")
	block32, _ := aes.NewCipher(key32)
	iv := []byte("iv-iv-iv-iv-iv-i")
	padded := append(bytes.Clone(text), bytes.Repeat([]byte{2}, 2)...) // 14 bytes
	encrypted := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block32, iv).CryptBlocks(encrypted, padded)
	boxed := []byte("a nonce of 24 bytes, yes")
	return map[string][]byte{
		"aesgcm":    append([]byte("k8s:enc:aesgcm:v1:new:"), g.Seal(bytes.Clone(nonce), nonce, text, []byte(path))...),
		"aescbc":    append(append([]byte("k8s:enc:aescbc:v1:k:"), iv...), encrypted...),
		"secretbox": append([]byte("k8s:enc:secretbox:v1:k:"), secretbox.Seal(bytes.Clone(boxed), text, (*[24]byte)(boxed), (*[32]byte)(key32))...),
		"identity":  text,
	}
}

func TestReadsKubernetes(t *testing.T) {
	p := secrets(t)
	for name, v := range foreign(t) {
		out, stale, err := p.FromStorage(v, path)
		if err != nil || !bytes.Equal(out, text) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
		if stale != (name != "aesgcm") {
			t.Errorf("%s: stale is %v", name, stale)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	all := secrets(t).all
	for i, s := range all {
		p := &Providers{append([]sealed{s}, all...)}
		for n := range 40 {
			in := bytes.Repeat([]byte("x"), n)
			v, err := p.ToStorage(in, path)
			if err != nil || !bytes.HasPrefix(v, []byte(s.prefix)) {
				t.Fatalf("%d: %q, %v", i, v, err)
			}
			out, stale, err := p.FromStorage(v, path)
			if err != nil || stale || !bytes.Equal(out, in) {
				t.Fatalf("%d: %q, %v, %v", i, out, stale, err)
			}
		}
	}
}

// Values that were tampered with, cut off or moved are errors, not panics.
func TestTampered(t *testing.T) {
	p := secrets(t)
	for name, v := range foreign(t) {
		if name == "identity" {
			continue
		}
		for n := range v {
			p.FromStorage(v[:n], path)
		}
		if name == "aescbc" {
			continue // not authenticated
		}
		for i := strings.LastIndexByte(string(v[:30]), ':') + 1; i < len(v); i++ {
			bad := bytes.Clone(v)
			bad[i] ^= 1
			if out, _, err := p.FromStorage(bad, path); err == nil {
				t.Errorf("%s: byte %d changed gives %q", name, i, out)
			}
		}
	}
	if _, _, err := p.FromStorage(foreign(t)["aesgcm"], "/registry/secrets/a/c"); err == nil {
		t.Error("a value can be moved to another key")
	}
	if _, _, err := p.FromStorage([]byte("k8s:enc:kms:v2:x:y"), path); err == nil {
		t.Error("a value of an unknown provider is read")
	}
}

func TestMatching(t *testing.T) {
	c, err := Parse([]byte(config), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		group, plural, first string
	}{
		{"", "secrets", "k8s:enc:aesgcm:v1:new:"},
		{"apps", "deployments", "k8s:enc:aesgcm:v1:new:"},
		{"apps", "daemonsets", "k8s:enc:secretbox:v1:k:"},
		{"", "pods", ""},
	} {
		p := c.Transformer(&scheme.Resource{Group: test.group, Plural: test.plural}).(*Providers)
		if p.all[0].prefix != test.first {
			t.Errorf("%s: %q, want %q", test.plural, p.all[0].prefix, test.first)
		}
	}
	if p := c.Transformer(&scheme.Resource{Group: "batch", Plural: "jobs"}); p != nil {
		t.Errorf("jobs are encrypted")
	}
}

func TestBadConfig(t *testing.T) {
	for _, bad := range []string{
		``, `{`, `kind: EncryptionConfiguration`,
		strings.Replace(config, "MDEyMzQ1Njc4OWFiY2RlZg==", "c2hvcnQ=", 1),
		strings.Replace(config, "MDEyMzQ1Njc4OWFiY2RlZg==", "?", 1),
		strings.Replace(config, "name: new", "name: 'a:b'", 1),
		strings.Replace(config, "identity: {}", "kms: {name: x}", 1),
		strings.Replace(config, "identity: {}", "other: {}", 1),
		strings.Replace(config, "resources: [secrets, deployments.apps]", "resources: []", 1),
	} {
		if _, err := Parse([]byte(bad), Options{}); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}
