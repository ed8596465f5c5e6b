package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/test/apiservertest"
)

// credential is what a client shows.
type credential struct {
	token     string
	cert, key []byte // PEM
	header    map[string][]string
}

func bearer(token string) credential { return credential{token: token} }

func (c credential) with(header ...string) credential {
	h := map[string][]string{}
	for k, v := range c.header {
		h[k] = v
	}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = append(h[header[i]], header[i+1])
	}
	c.header = h
	return c
}

func caFile(s *apiservertest.Server) string { return filepath.Join(s.Dir, "pki", "ca.crt") }

// admin is the administrator's certificate.
func admin(t testing.TB, s *apiservertest.Server) credential {
	return credential{cert: read(t, filepath.Join(s.Dir, "pki", "admin.crt")), key: read(t, filepath.Join(s.Dir, "pki", "admin.key"))}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// httpClient makes a new connection for each request: what it is asked for
// then depends on nothing that came before.
func httpClient(t testing.TB, s *apiservertest.Server, c credential) *http.Client {
	t.Helper()
	config := s.TLS(t)
	config.Certificates = nil
	if c.cert != nil {
		pair, err := tls.X509KeyPair(c.cert, c.key)
		if err != nil {
			t.Fatal(err)
		}
		// Sent also when the server names other authorities.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// call makes one request of REST; the error is the API's Status.
func call(t testing.TB, s *apiservertest.Server, c credential, method, path string, body, into any) error {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for k, v := range c.header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	resp, err := httpClient(t, s, c).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		st := metav1.Status{}
		if err := json.Unmarshal(raw, &st); err != nil || st.Kind != "Status" {
			return fmt.Errorf("%s %s: %s: %q is no Status", method, path, resp.Status, raw)
		}
		return &apierrors.StatusError{ErrStatus: st}
	}
	switch into := into.(type) {
	case nil:
	case *string:
		*into = string(raw)
	default:
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, raw)
		}
	}
	return nil
}

func dial(t testing.TB, s *apiservertest.Server, c credential) *client.Client {
	t.Helper()
	api, err := client.Dial(client.Config{Server: s.URL, CAFile: caFile(s), Token: c.token, CertData: c.cert, KeyData: c.key}, builtin.Scheme(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() }) // the test is over
	return api
}

func outgoing(c credential) context.Context {
	ctx := context.Background()
	for k, values := range c.header {
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(k), v)
		}
	}
	return ctx
}

// door is one of the ways in; who asks the server whom it takes the client for.
type door struct {
	name string
	who  func(t testing.TB, s *apiservertest.Server, c credential) (*authenticationv1.UserInfo, error)
}

var doors = []door{
	{"REST", func(t testing.TB, s *apiservertest.Server, c credential) (*authenticationv1.UserInfo, error) {
		var r authenticationv1.SelfSubjectReview
		err := call(t, s, c, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &authenticationv1.SelfSubjectReview{}, &r)
		return &r.Status.UserInfo, err
	}},
	{"gRPC", func(t testing.TB, s *apiservertest.Server, c credential) (*authenticationv1.UserInfo, error) {
		r, err := client.Create(outgoing(c), dial(t, s, c), &authenticationv1.SelfSubjectReview{})
		if err != nil {
			return nil, err
		}
		return &r.Status.UserInfo, nil
	}},
}

// each runs a test at both doors.
func each(t *testing.T, f func(t *testing.T, who func(s *apiservertest.Server, c credential) (*authenticationv1.UserInfo, error))) {
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			f(t, func(s *apiservertest.Server, c credential) (*authenticationv1.UserInfo, error) { return d.who(t, s, c) })
		})
	}
}

// isUser checks who it was; extra is compared without the credential's id
// unless it is wanted.
func isUser(t testing.TB, got *authenticationv1.UserInfo, err error, want authenticationv1.UserInfo) {
	t.Helper()
	if err != nil {
		t.Errorf("%v, want %s", err, want.Username)
		return
	}
	g := *got
	const id = "authentication.kubernetes.io/credential-id"
	if _, ok := want.Extra[id]; !ok && g.Extra[id] != nil {
		g.Extra = map[string]authenticationv1.ExtraValue{}
		for k, v := range got.Extra {
			if k != id {
				g.Extra[k] = v
			}
		}
		if len(g.Extra) == 0 {
			g.Extra = nil
		}
	}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("user is\n%+v, want\n%+v", g, want)
	}
}

func user(name string, groups ...string) authenticationv1.UserInfo {
	return authenticationv1.UserInfo{Username: name, Groups: append(groups, "system:authenticated")}
}

// is checks the Status of an error.
func is(t testing.TB, err error, code int32, message string) {
	t.Helper()
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		t.Errorf("%v, want %d %s", err, code, message)
		return
	}
	if st := s.Status(); st.Code != code || st.Message != message {
		t.Errorf("%d %q, want %d %q", st.Code, st.Message, code, message)
	}
}

func unauthorized(t testing.TB, err error) {
	t.Helper()
	is(t, err, http.StatusUnauthorized, "Unauthorized")
}

// eventually repeats something that takes effect only after a while.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	// As configuration management does: never half a file.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// metric is a sample in /metrics, 0 when it is not there.
func metric(t testing.TB, s *apiservertest.Server, series string) float64 {
	t.Helper()
	var text string
	if err := call(t, s, admin(t, s), http.MethodGet, "/metrics", nil, &text); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	return 0
}
