package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

func TestRights(t *testing.T) {
	for request, want := range map[string]string{
		"GET /pods":                   "get [pods proxy]",
		"GET /pods/":                  "get [pods proxy]",
		"GET /runningpods/":           "get [pods proxy]",
		"GET /metrics":                "get [metrics]",
		"GET /metrics/cadvisor":       "get [metrics]",
		"GET /stats/summary":          "get [stats]",
		"GET /logs/syslog":            "get [log]",
		"GET /healthz":                "get [healthz proxy]",
		"GET /healthz/ping":           "get [healthz proxy]",
		"GET /configz":                "get [configz proxy]",
		"GET /flagz":                  "get [configz proxy]",
		"GET /statusz":                "get [statusz proxy]",
		"POST /checkpoint/ns/p/c":     "create [checkpoint]",
		"GET /containerLogs/ns/p/c":   "get [proxy]",
		"GET /exec/ns/p/c":            "create [proxy]",
		"POST /exec/ns/p/c":           "create [proxy]",
		"HEAD /attach/ns/p/c":         "create [proxy]",
		"GET /portForward/ns/p":       "create [proxy]",
		"PUT /run/ns/p/c":             "create [proxy]",
		"GET /debug/pprof/":           "get [proxy]",
		"DELETE /x":                   "delete [proxy]",
		"PATCH /":                     "patch [proxy]",
		"GET /podsx":                  "get [proxy]",
		"GET /metricsx":               "get [proxy]",
		"GET /configz/../exec/ns/p/c": "get [proxy]",
		"OPTIONS /pods":               "get [pods proxy]",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := rights(method, path)
		if have := fmt.Sprint(r.verb, " ", r.subresources); have != want {
			t.Errorf("%s: have %s, want %s", request, have, want)
		}
	}
}

// reviewer is an API server that has reviews only.
type reviewer struct {
	pb.UnimplementedObjectsServer
	mu    sync.Mutex
	asked []string // guarded by mu
	down  bool     // guarded by mu
}

func (r *reviewer) Create(_ context.Context, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, fmt.Errorf("down")
	}
	switch q.Key.Resource.Resource {
	case "tokenreviews":
		var o authenticationv1.TokenReview
		if err := o.Unmarshal(q.Object.Raw); err != nil {
			return nil, err
		}
		r.asked = append(r.asked, "token "+o.Spec.Token)
		if name, ok := strings.CutPrefix(o.Spec.Token, "good-"); ok {
			o.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: name, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}}}}
		}
		return answerWith(&o)
	case "subjectaccessreviews":
		var o authorizationv1.SubjectAccessReview
		if err := o.Unmarshal(q.Object.Raw); err != nil {
			return nil, err
		}
		a := o.Spec.ResourceAttributes
		r.asked = append(r.asked, fmt.Sprint(o.Spec.User, " ", a.Verb, " ", a.Resource, "/", a.Subresource, " ", a.Name))
		o.Status.Allowed = o.Spec.User == "metrics" && a.Subresource == "metrics" || o.Spec.User == "proxy" && a.Subresource == "proxy" && a.Verb == "get"
		return answerWith(&o)
	}
	return nil, fmt.Errorf("no reviews of %v", q.Key)
}

func answerWith(o interface{ Marshal() ([]byte, error) }) (*pb.WriteResponse, error) {
	raw, err := o.Marshal()
	return &pb.WriteResponse{Object: &pb.Object{Raw: raw, Revision: 1}}, err
}

func (r *reviewer) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.asked, "; ")
	r.asked = nil
	return text
}

func (r *reviewer) client(t *testing.T) *client.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterObjectsServer(s, r)
	go func() { _ = s.Serve(l) }() // ends with Stop
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client.New(conn, builtin.Scheme())
}

func TestWhoMayDoWhat(t *testing.T) {
	var api reviewer
	e := serveFor(t, &held{pods: []*corev1.Pod{onePod("c")}}, Options{API: api.client(t), Tokens: true})
	other := newAuthority(t)
	for _, c := range []struct {
		name         string
		token        string
		method, path string
		code         int
		text, asked  string
	}{
		{"", "", "GET", "/pods", 401, "Unauthorized", ""},
		{"", "bad", "GET", "/pods", 401, "Unauthorized", "token bad"},
		{"", "bad", "GET", "/pods", 401, "Unauthorized", ""}, // kept
		{"", "good-metrics", "GET", "/metrics", 404, "", "token good-metrics; metrics get nodes/metrics n"},
		{"", "good-metrics", "GET", "/pods", 403, "Forbidden (user=metrics, verb=get, resource=nodes, subresource(s)=[pods proxy])", "metrics get nodes/pods n; metrics get nodes/proxy n"},
		{"", "good-metrics", "GET", "/metrics", 404, "", ""},
		{"proxy", "", "GET", "/pods", 200, `"kind":"PodList"`, "proxy get nodes/pods n; proxy get nodes/proxy n"},
		{"proxy", "", "GET", "/exec/default/p/c?output=1", 403, "Forbidden (user=proxy, verb=create, resource=nodes, subresource(s)=[proxy])", "proxy create nodes/proxy n"},
		{"proxy", "", "POST", "/run/default/p/c", 403, "", ""},
		{"proxy", "", "GET", "/stats/summary", 403, "", "proxy get nodes/stats n"},
		{"proxy", "good-metrics", "GET", "/metrics", 403, "", "proxy get nodes/metrics n"}, // the certificate counts
		{"other", "", "GET", "/metrics", 401, "Unauthorized", ""},
		{"other", "good-metrics", "GET", "/metrics", 404, "", ""}, // a certificate that is not valid leaves the token
		{"admin", "", "GET", "/pods", 200, "", ""},
		{"admin", "", "GET", "/none", 404, "", ""},
	} {
		cert := e.ca.user(c.name)
		switch c.name {
		case "":
			cert = nil
		case "admin":
			cert = e.admin
		case "other":
			cert = other.user("admin", masters)
		}
		code, text := e.do(cert, c.token, c.method, c.path)
		if asked := api.take(); code != c.code || !strings.Contains(text, c.text) || asked != c.asked {
			t.Errorf("%s %s as %s%s: %d %s, asked %q", c.method, c.path, c.name, c.token, code, text, asked)
		}
	}
	api.mu.Lock()
	api.down = true
	api.mu.Unlock()
	if code, _ := e.do(nil, "good-new", "GET", "/metrics"); code != 401 {
		t.Errorf("without reviews of tokens: %d", code)
	}
	if code, text := e.do(e.ca.user("new"), "", "GET", "/metrics"); code != 500 || strings.Contains(text, "down") {
		t.Errorf("without reviews of access: %d %s", code, text)
	}
}

func TestAnonymousIsReviewed(t *testing.T) {
	var api reviewer
	e := serveFor(t, &held{}, Options{API: api.client(t), Anonymous: true})
	if code, _ := e.do(nil, "", http.MethodGet, "/metrics"); code != 403 {
		t.Error(code)
	}
	if asked := api.take(); asked != "system:anonymous get nodes/metrics n" {
		t.Error(asked)
	}
	if code, _ := e.do(newAuthority(t).user("admin", masters), "", http.MethodGet, "/metrics"); code != 401 { // says who it is, and is not
		t.Error(code)
	}
	if code, _ := e.do(nil, "good-metrics", http.MethodGet, "/metrics"); code != 401 { // tokens are off
		t.Error(code)
	}
}
