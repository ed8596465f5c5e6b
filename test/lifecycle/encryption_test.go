package lifecycle

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"xebec.dev/test/apiservertest"
)

const encryption = `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [PROVIDERS, {identity: {}}]
`

// TestEncryptionKeys follows the documented steps of turning encryption on and
// changing its key: what is written again, unchanged, gets the newest key.
func TestEncryptionKeys(t *testing.T) {
	t.Parallel()
	etcd := apiservertest.StartEtcd(t)
	db, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := apiservertest.Start(t, "--etcd-servers="+etcd)
	client := s.Client(t)
	const secrets = "/api/v1/namespaces/default/secrets"
	resp, err := client.Post(s.URL+secrets, "application/json", strings.NewReader(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"a":"canary"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stored := func() []byte {
		r, err := db.Get(t.Context(), "/registry/secrets/default/s")
		if err != nil || len(r.Kvs) != 1 {
			t.Fatalf("%v, %v", r, err)
		}
		return r.Kvs[0].Value
	}
	// replace writes back what was read.
	replace := func() {
		t.Helper()
		code, text := get(t, client, s.URL+secrets+"/s")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+secrets+"/s", bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"a":"Y2FuYXJ5"`)) {
			t.Fatalf("%s %s %v", resp.Status, text, err)
		}
	}
	replace()
	if v := stored(); !bytes.Contains(v, []byte("canary")) {
		t.Fatalf("stored %q", v)
	}
	config := filepath.Join(t.TempDir(), "encryption.yaml")
	configure := func(providers string) {
		t.Helper()
		if err := os.WriteFile(config+".new", []byte(strings.Replace(encryption, "PROVIDERS", providers, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(config+".new", config); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "{name: k1, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}", "{name: k2, secret: MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=}"
	configure("{secretbox: {keys: [" + first + "]}}")
	s.Stop(t)
	s.Args = append(s.Args, "--encryption-provider-config="+config, "--encryption-provider-config-automatic-reload")
	s.Run(t)
	client.CloseIdleConnections()
	replace()
	if v := stored(); !bytes.HasPrefix(v, []byte("k8s:enc:secretbox:v1:k1:")) || bytes.Contains(v, []byte("canary")) {
		t.Errorf("stored %q after a replace", v)
	}
	before := stored()
	if replace(); !bytes.Equal(before, stored()) {
		t.Error("a replace without a change was written")
	}
	// Another key, without a restart.
	configure("{aesgcm: {keys: [" + second + "]}}, {secretbox: {keys: [" + first + "]}}")
	for deadline := time.Now().Add(time.Minute); !bytes.HasPrefix(stored(), []byte("k8s:enc:aesgcm:v1:k2:")); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stored %.40q a minute after the key has changed", stored())
		}
		replace()
	}
	// A file that can't be read changes nothing.
	configure("{aesgcm: {keys: []}}")
	replace()
	configure("{aesgcm: {keys: [" + second + "]}}")
	s.Stop(t)
	s.Run(t)
	client.CloseIdleConnections()
	replace()
}
