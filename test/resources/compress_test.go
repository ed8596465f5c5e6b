package resources

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"xebec.dev/test/apiservertest"
)

// TestCompressed: answers above 128 KiB are compressed for clients that accept
// it, one object as well as a list.
func TestCompressed(t *testing.T) {
	s := newSuiteOf(t, apiservertest.Start(t))
	maps := &rest{client: s.client, collection: s.server.URL + "/api/v1/namespaces/default/configmaps"}
	for name, size := range map[string]int{"small": 120 << 10, "large": 128 << 10} {
		must(t, "create")(maps.create(object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": name}, "data": object{"a": strings.Repeat("x", size)}}))
	}
	for _, c := range []struct {
		path, accept string
		compressed   bool
	}{
		{"/small", "gzip", false}, {"/large", "gzip", true}, {"/large", "", false}, {"", "gzip", true}, {"", "identity", false},
	} {
		req, err := http.NewRequest(http.MethodGet, maps.collection+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Accept-Encoding"] = nil // the transport must not ask by itself
		if c.accept != "" {
			req.Header.Set("Accept-Encoding", c.accept)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := io.Reader(resp.Body)
		h := resp.Header
		if compressed := h.Get("Content-Encoding") == "gzip"; compressed != c.compressed || compressed && h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("GET %s accepting %q: compressed is %v, Vary %q", c.path, c.accept, compressed, h.Get("Vary"))
		} else if compressed {
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		var o object
		if err := json.NewDecoder(body).Decode(&o); err != nil || o["kind"] == nil {
			t.Errorf("GET %s accepting %q: %v", c.path, c.accept, err)
		}
	}
}
