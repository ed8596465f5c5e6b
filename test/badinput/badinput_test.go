// Package badinput sends what a server should survive: each answer a clear
// Status, the memory bounded, the process the same at the end.
package badinput

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
)

const (
	maps           = "/api/v1/namespaces/default/configmaps"
	jsonType       = "application/json"
	yamlType       = "application/yaml"
	protobufType   = "application/vnd.kubernetes.protobuf"
	jsonPatch      = "application/json-patch+json"
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
	applyPatch     = "application/apply-patch+yaml"
)

type attempt struct {
	name        string
	method      string
	path        string
	contentType string
	body        string
	accept      string
	code        int    // 0 is any refusal from 400 to 499
	says        string // part of the Status's message
}

func nested(open, inner, end string, depth int) string {
	return strings.Repeat(open, depth) + inner + strings.Repeat(end, depth)
}

// aliases is the billion laughs in YAML.
func aliases(depth int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aliases}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

func operations(n int) string {
	op := `{"op":"add","path":"/data/k","value":"v"}`
	return "[" + strings.TrimSuffix(strings.Repeat(op+",", n), ",") + "]"
}

// bomb doubles a value with each copy.
func bomb() string {
	ops := []string{`{"op":"add","path":"/data/x","value":"` + strings.Repeat("x", 1000) + `"}`}
	for i := range 60 {
		ops = append(ops, fmt.Sprintf(`{"op":"copy","from":"/data","path":"/data/c%d"}`, i))
	}
	return "[" + strings.Join(ops, ",") + "]"
}

func attempts() []attempt {
	big := strings.Repeat("x", 3<<20+1)
	object := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME"}}`
	envelope := "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\xff\xff\xff\x7f"
	return []attempt{
		{name: "body over 3 MiB", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"` + big + `"}}`, code: 413, says: "limit is 3145728"},
		{name: "object over its own limit", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"` + big[:2<<20] + `"}}`, code: 422, says: "Too long"},
		{name: "patch over 3 MiB", method: "PATCH", path: maps + "/victim", contentType: mergePatch, body: `{"data":{"a":"` + big + `"}}`, code: 413},
		{name: "ten thousand and one operations", method: "PATCH", path: maps + "/victim", contentType: jsonPatch, body: operations(10001), code: 413, says: "The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{name: "copies that double", method: "PATCH", path: maps + "/victim", contentType: jsonPatch, body: bomb()},
		{name: "deep JSON arrays", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":` + nested("[", "", "]", 100000) + `}`, code: 400},
		{name: "deep JSON objects", method: "POST", path: maps, contentType: jsonType, body: nested(`{"a":`, "1", "}", 100000), code: 400},
		{name: "deep YAML", method: "POST", path: maps, contentType: yamlType, body: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: deep}\ndata: " + nested("[", "", "]", 20000), code: 400},
		{name: "deep merge patch", method: "PATCH", path: maps + "/victim", contentType: mergePatch, body: nested(`{"a":`, "1", "}", 100000)},
		{name: "deep strategic patch", method: "PATCH", path: maps + "/victim", contentType: strategicPatch, body: nested(`{"a":`, "1", "}", 100000)},
		{name: "deep apply", method: "PATCH", path: maps + "/victim?fieldManager=m", contentType: applyPatch, body: nested(`{"a":`, "1", "}", 100000)},
		{name: "YAML aliases", method: "POST", path: maps, contentType: yamlType, body: aliases(12), code: 400, says: "excessive aliasing"},
		{name: "YAML aliases applied", method: "PATCH", path: maps + "/aliases?fieldManager=m", contentType: applyPatch, body: aliases(12), says: "excessive aliasing"},
		{name: "truncated JSON", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"Conf`, code: 400},
		{name: "truncated protobuf", method: "POST", path: maps, contentType: protobufType, body: envelope, code: 400},
		{name: "only protobuf's magic", method: "POST", path: maps, contentType: protobufType, body: "k8s\x00", code: 422, says: "name or generateName is required"},
		{name: "protobuf without its magic", method: "POST", path: maps, contentType: protobufType, body: "\x0a\xff\xff\xff\xff\x0f", code: 400},
		{name: "protobuf of another kind", method: "POST", path: maps, contentType: protobufType, body: "k8s\x00\n\x09\n\x02v1\x12\x03Pod", code: 400},
		{name: "deep protobuf groups", method: "POST", path: maps, contentType: protobufType, body: "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x90\x4e" + strings.Repeat("\x3b", 10000), code: 400},
		{name: "not UTF-8", method: "POST", path: maps, contentType: jsonType, body: "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"utf\xff\"}}"},
		{name: "empty body", method: "POST", path: maps, contentType: jsonType, code: 400},
		{name: "null", method: "POST", path: maps, contentType: jsonType, body: "null", code: 422, says: "name or generateName is required"},
		{name: "a list", method: "POST", path: maps, contentType: jsonType, body: "[]", code: 400},
		{name: "a name of the wrong type", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":{}}}`, code: 400},
		{name: "wrong content type", method: "POST", path: maps, contentType: "text/plain", body: object, code: 415, says: "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{name: "malformed content type", method: "POST", path: maps, contentType: ";;;", body: object},
		{name: "patch of no type", method: "PATCH", path: maps + "/victim", contentType: jsonType, body: "{}", code: 415},
		{name: "unacceptable", method: "GET", path: maps, accept: "text/html", code: 406, says: "Available representations: application/json"},
		{name: "unknown field", method: "POST", path: maps + "?fieldValidation=Strict", contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"u"},"nonsense":1}`, code: 400, says: `strict decoding error: unknown field "nonsense"`},
		{name: "duplicate field", method: "POST", path: maps + "?fieldValidation=Strict", contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"u","name":"v"}}`, code: 400, says: `duplicate field "metadata.name"`},
		{name: "unknown field validation", method: "POST", path: maps + "?fieldValidation=Never", contentType: jsonType, body: object, code: 422},
		{name: "long label selector", method: "GET", path: maps + "?labelSelector=" + url.QueryEscape("a in ("+strings.Repeat("b,", 200)+strings.Repeat("c", 300)+")"), code: 400},
		{name: "label selector nonsense", method: "GET", path: maps + "?labelSelector=" + url.QueryEscape("((((((("), code: 400},
		{name: "field selector nonsense", method: "GET", path: maps + "?fieldSelector=" + url.QueryEscape("a=b=c,,,\\"), code: 400},
		{name: "continue nonsense", method: "GET", path: maps + "?continue=" + strings.Repeat("A", 4000), code: 400, says: "continue"},
		{name: "limit nonsense", method: "GET", path: maps + "?limit=x", code: 400},
		{name: "version nonsense", method: "GET", path: maps + "?resourceVersion=x", code: 400},
		{name: "version of the future", method: "GET", path: maps + "?resourceVersion=99999999999", code: 504, says: "Too large resource version"},
		{name: "timeout nonsense", method: "GET", path: maps + "?watch=1&timeoutSeconds=x", code: 400},
		{name: "dots", method: "GET", path: "/api/v1/namespaces/../configmaps/.."},
		{name: "encoded dots", method: "GET", path: "/api/v1/namespaces/%2e%2e/configmaps/x"},
		{name: "encoded slash in a name", method: "GET", path: maps + "/a%2fb"},
		{name: "encoded slash in a namespace", method: "GET", path: "/api/v1/namespaces/a%2fb/configmaps/x"},
		{name: "encoded slash reaches no other key", method: "GET", path: "/api/v1/namespaces/default%2fvictim/configmaps/"},
		{name: "zero byte", method: "GET", path: maps + "/a%00b"},
		{name: "long name", method: "GET", path: maps + "/" + strings.Repeat("a", 10000)},
		{name: "unknown method", method: "BREW", path: maps, code: 405},
		{name: "unknown resource", method: "GET", path: "/api/v1/namespaces/default/nonsenses"},
		{name: "unknown subresource", method: "GET", path: maps + "/victim/nonsense", code: 404},
		{name: "name of URL and body differ", method: "PUT", path: maps + "/victim", contentType: jsonType, body: strings.Replace(object, "NAME", "other", 1), code: 400, says: "the name of the object (other) does not match the name on the URL (victim)"},
		{name: "namespace of URL and body differ", method: "POST", path: maps, contentType: jsonType, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","namespace":"kube-system"}}`, code: 400, says: "does not match"},
		{name: "delete options nonsense", method: "DELETE", path: maps + "/victim", contentType: jsonType, body: `{"propagationPolicy":"Nonsense","apiVersion":"v1","kind":"DeleteOptions"}`, code: 422},
		{name: "delete options over 3 MiB", method: "DELETE", path: maps + "/victim", contentType: jsonType, body: `{"dryRun":["` + big + `"]}`, code: 413},
		{name: "token nonsense", method: "POST", path: "/apis/authentication.k8s.io/v1/tokenreviews", contentType: jsonType, body: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + strings.Repeat("a.", 100000) + `"}}`, code: 201},
	}
}

func TestBadInput(t *testing.T) {
	s := apiservertest.Start(t)
	client := s.Client(t)
	if resp, err := client.Post(s.URL+maps, jsonType, strings.NewReader(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim"},"data":{"a":"b"}}`)); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatal(err, resp)
	}
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) { a.run(t, client, s.URL) })
	}
	same(t, s)
	resp, err := client.Get(s.URL + maps + "/victim")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(text, []byte(`"data":{"a":"b"}`)) {
		t.Errorf("the victim is %s, %v", text, err)
	}
}

func (a attempt) run(t *testing.T, client *http.Client, base string) {
	req, err := http.NewRequestWithContext(t.Context(), a.method, base+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if a.contentType != "" {
		req.Header.Set("Content-Type", a.contentType)
	}
	if a.accept != "" {
		req.Header.Set("Accept", a.accept)
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if a.code != 0 && resp.StatusCode != a.code || a.code == 0 && (resp.StatusCode < 400 || resp.StatusCode >= 500) {
		t.Errorf("answered %d, want %d, after %s: %.500s", resp.StatusCode, a.code, time.Since(began), text)
	}
	if resp.StatusCode < 400 {
		return
	}
	var status struct{ Kind, Status, Message, Reason string }
	if err := json.Unmarshal(text, &status); err != nil {
		if resp.Header.Get("Content-Type") != jsonType && resp.StatusCode != http.StatusMethodNotAllowed {
			return // paths outside the API are answered in text, as Kubernetes does
		}
		t.Errorf("no Status but %.300s", text)
	} else if status.Kind != "Status" || status.Status != "Failure" || status.Message == "" {
		t.Errorf("no clear Status: %.300s", text)
	}
	if !strings.Contains(status.Message, a.says) {
		t.Errorf("says %.500q, want %q", status.Message, a.says)
	}
}

// same checks that it is still the process that was started, of a bounded size.
func same(t *testing.T, s *apiservertest.Server) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	for line := range strings.Lines(string(text)) {
		if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.Atoi(strings.Fields(peak)[0])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("peak memory %d MiB", kB>>10)
			if kB > 1<<20 {
				t.Errorf("peak memory %d kB", kB)
			}
		}
	}
	if log := s.Log(); strings.Contains(log, "panic") {
		t.Errorf("a panic was caught\n%s", log)
	}
}

// TestMany sends large bodies from many sides at once.
func TestMany(t *testing.T) {
	s := apiservertest.Start(t)
	client := s.Client(t)
	all := attempts()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 6 {
				a := all[(i*3+j*5)%12]
				req, err := http.NewRequestWithContext(t.Context(), a.method, s.URL+a.path, strings.NewReader(a.body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", a.contentType)
				resp, err := client.Do(req)
				if err != nil {
					t.Errorf("%s: %v", a.name, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body) // only survival counts
				resp.Body.Close()
				if resp.StatusCode < 400 || resp.StatusCode >= 500 {
					t.Errorf("%s: %s", a.name, resp.Status)
				}
			}
		})
	}
	wg.Wait()
	same(t, s)
}

// TestConnections are no HTTP at all, or never finished.
func TestConnections(t *testing.T) {
	s := apiservertest.Start(t)
	config := s.TLS(t)
	address := strings.TrimPrefix(s.URL, "https://")
	for name, text := range map[string]string{
		"nonsense":        "\x00\x01\x02\x03 nonsense\r\n\r\n",
		"half a request":  "POST " + maps + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{",
		"negative length": "POST " + maps + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"huge header":     "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"bad chunk":       "POST " + maps + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		config := config.Clone()
		config.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text)) // it may hang up first
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		answer, _ := io.ReadAll(conn) // or wait for the rest
		// A body that cannot be read is an internal error in Kubernetes.
		if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(answer, []byte("HTTP/1.1 500")) {
			t.Errorf("%s: %.200q", name, answer)
		}
		conn.Close()
	}
	resp, err := s.Client(t).Get(s.URL + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
	same(t, s)
}

// TestStalledBody: a client that does not end its body gives its place back
// when the request's time is up, over either version of HTTP.
func TestStalledBody(t *testing.T) {
	s := apiservertest.Start(t, "--request-timeout=2s", "--max-mutating-requests-inflight=1")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		config := s.TLS(t)
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
		body, writer := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+maps, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", jsonType)
		go func() { _, _ = writer.Write([]byte(`{"apiVersion":`)) }() // the rest never comes
		resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		writer.Close()
		if err != nil || resp.Proto != protocol || resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(text), "request did not complete within the allotted timeout") {
			t.Errorf("%s: %s %s %s %v", protocol, resp.Proto, resp.Status, text, err)
		}
		transport.CloseIdleConnections()
	}
	resp, err := s.Client(t).Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), `apiserver_current_inflight_requests{request_kind="mutating"} 0`) {
		t.Errorf("a place is kept: %v", err)
	}
	same(t, s)
}

// TestNodeIsTheServer: who may write a node's status has the server connect
// to itself, with its own certificate for kubelets. It must not be let in.
func TestNodeIsTheServer(t *testing.T) {
	s := apiservertest.Start(t)
	client := s.Client(t)
	node := fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, s.Port)
	resp, err := client.Post(s.URL+"/api/v1/nodes", jsonType, strings.NewReader(node))
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
	resp, err = client.Post(s.URL+"/api/v1/nodes/n/proxy/apis/authentication.k8s.io/v1/selfsubjectreviews", jsonType,
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "the address of the node is not the node's") {
		t.Errorf("%s %s %v", resp.Status, text, err)
	}
}
