// Package resources puts every served resource through its verbs, in JSON and
// protobuf, over REST and gRPC.
package resources

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// object is an API object in its JSON form, whatever carried it.
type object = map[string]any

// fixture is one document of testdata/valid.yaml, which explains the fields.
type fixture struct {
	Resource string
	Name     string
	Object   object
	Change   object
	Status   object
	Review   any
	Invalid  []struct {
		Patch object
		Says  string
	}
}

func loadFixtures(t *testing.T) []fixture {
	text, err := os.ReadFile("testdata/valid.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = certificates(t, text)
	var all []fixture
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var f fixture
		if err := yaml.UnmarshalStrict(doc, &f); err != nil {
			t.Fatalf("%s\n%v", doc, err)
		}
		all = append(all, f)
	}
}

// certificates fills $CSR with a request for a certificate, $STUB with the
// same without its armour, and $CERT with the certificate of an authority.
func certificates(t *testing.T, text []byte) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "c"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	armoured, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer(
		"$CSR", base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
		"$STUB", base64.StdEncoding.EncodeToString(request),
		"$CERT", string(armoured),
	).Replace(string(text)))
}

// in is the fixture with its variables filled in: the namespace and a number
// of its own.
func (f fixture) in(t *testing.T, namespace string, n int) fixture {
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("$NS", namespace, "$N", fmt.Sprint(n)).Replace(string(text))
	var out fixture
	if err := json.Unmarshal([]byte(filled), &out); err != nil {
		t.Fatal(err)
	}
	if out.Name == "" {
		out.Name = namespace
	}
	out.metadata()["name"] = out.Name
	return out
}

func (f fixture) metadata() object { return metadata(f.Object) }

func metadata(o object) object {
	m, ok := o["metadata"].(object)
	if !ok {
		m = object{}
		o["metadata"] = m
	}
	return m
}

// group and version of the fixture's object.
func (f fixture) groupVersion() (group, version string) {
	gv := f.Object["apiVersion"].(string)
	if g, v, ok := strings.Cut(gv, "/"); ok {
		return g, v
	}
	return "", gv
}

// merged is an object with a merge patch applied (RFC 7396).
func merged(o, patch object) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	for k, v := range patch {
		p, isObject := v.(object)
		switch {
		case v == nil:
			delete(out, k)
		case isObject:
			inner, _ := out[k].(object)
			out[k] = merged(inner, p)
		default:
			out[k] = v
		}
	}
	return out
}

// covers says where o lacks what the merge patch would have set.
func covers(o any, patch any, at string) string {
	switch p := patch.(type) {
	case object:
		m, ok := o.(object)
		if !ok {
			return fmt.Sprintf("%s is %v", at, o)
		}
		for k, v := range p {
			if v == nil {
				continue
			}
			if d := covers(m[k], v, at+"."+k); d != "" {
				return d
			}
		}
	case []any:
		l, ok := o.([]any)
		if len(p) > 0 && (!ok || len(l) != len(p)) {
			return fmt.Sprintf("%s is %v", at, o)
		}
		for i := range p {
			if d := covers(l[i], p[i], fmt.Sprintf("%s[%d]", at, i)); d != "" {
				return d
			}
		}
	case string:
		if s, _ := o.(string); s != p && !strings.HasPrefix(p, s) {
			return fmt.Sprintf("%s is %v", at, o)
		}
	default:
		if fmt.Sprint(o) != fmt.Sprint(p) && (o != nil || fmt.Sprint(p) != "0" && fmt.Sprint(p) != "false") {
			return fmt.Sprintf("%s is %v", at, o)
		}
	}
	return ""
}
