package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/request"
)

const policyText = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", "/version"]}
- {level: None, resources: [{group: "", resources: [configmaps], resourceNames: [leader]}]}
- {level: Metadata, resources: [{group: "", resources: [secrets, pods/log, "*/scale"]}]}
- {level: RequestResponse, resources: [{group: "", resources: [pods]}], omitManagedFields: false}
- {level: Request, resources: [{group: "", resources: [configmaps]}], namespaces: [kube-system], omitStages: [ResponseStarted]}
- {level: Request, resources: [{group: apps, resources: ["deployments/*"]}]}
- {level: Request, namespaces: [""], resources: [{group: storage.k8s.io}]}
- {level: Metadata, users: [alice]}
`

func TestPolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	res := func(verb, group, resource, sub, ns, name string) request.Info {
		return request.Info{IsResource: true, Verb: verb, Group: group, Resource: resource, Subresource: sub, Namespace: ns, Name: name}
	}
	path := func(p string) request.Info { return request.Info{Verb: "get", Path: p} }
	for _, c := range []struct {
		user, group string
		info        request.Info
		want        Level
	}{
		{"system:kube-proxy", "", res("watch", "", "services", "", "", ""), None},
		{"system:kube-proxy", "", res("list", "", "services", "", "", ""), None}, // by no rule
		{"u", "system:authenticated", path("/apis/apps"), None},
		{"alice", "", path("/apis/apps"), Metadata},
		{"alice", "system:authenticated", path("/metrics"), Metadata},
		{"u", "", res("get", "", "configmaps", "", "kube-system", "leader"), None},
		{"u", "", res("get", "", "configmaps", "", "kube-system", "other"), Request},
		{"u", "", res("list", "", "configmaps", "", "kube-system", ""), Request},
		{"u", "", res("get", "", "configmaps", "", "default", "other"), None},
		{"u", "", res("get", "", "secrets", "", "default", "a"), Metadata},
		{"u", "", res("get", "", "pods", "", "default", "a"), RequestResponse},
		{"u", "", res("get", "", "pods", "log", "default", "a"), Metadata},
		{"u", "", res("get", "", "pods", "exec", "default", "a"), None},
		{"u", "", res("get", "", "replicationcontrollers", "scale", "default", "a"), Metadata},
		{"u", "", res("get", "apps", "deployments", "scale", "default", "a"), Request},
		{"u", "", res("get", "apps", "deployments", "", "default", "a"), None},
		{"u", "", res("get", "storage.k8s.io", "storageclasses", "", "", "a"), Request},
		{"u", "", res("get", "storage.k8s.io", "csistoragecapacities", "", "ns", "a"), None},
	} {
		if got := p.Decide(&request.User{Name: c.user, Groups: []string{c.group}}, &c.info); got.Level != c.want {
			t.Errorf("%s %+v: %s, want %s", c.user, c.info, got.Level, c.want)
		}
	}
	info := res("get", "", "pods", "", "default", "a")
	if d := p.Decide(&request.User{}, &info); d.OmitManagedFields || len(d.OmitStages) != 1 {
		t.Errorf("%+v", d)
	}
	info = res("get", "", "configmaps", "", "kube-system", "a")
	if d := p.Decide(&request.User{}, &info); !d.OmitManagedFields || len(d.OmitStages) != 2 {
		t.Errorf("%+v", d)
	}
}

func TestPolicyErrors(t *testing.T) {
	head := "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	for body, want := range map[string]string{
		"":                             "0 rules",
		"rules: [{level: Some}]":       "Unsupported value",
		"rules: [{users: [a]}]":        "Required value",
		"rules: [{level: None, x: 1}]": "unknown field",
		"rules: [{level: None, nonResourceURLs: [a]}]":                   "must begin with a '/'",
		"rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]": "cannot apply to both",
		"rules: [{level: None, resources: [{resourceNames: [a]}]}]":      "requires at least one resource",
		"rules: [{level: None, omitStages: [Never]}]":                    "allowed stages are",
	} {
		if _, err := ParsePolicy([]byte(head + body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// kept is a backend that remembers.
type kept struct {
	mu     sync.Mutex
	events []*Event
	fail   bool
}

func (k *kept) Process(e ...*Event) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e...)
	return !k.fail
}
func (k *kept) Run(context.Context) error { return nil }
func (k *kept) write(_ context.Context, e []*Event) error {
	k.Process(e...)
	if k.fail {
		return errors.New("full")
	}
	return nil
}

func (k *kept) stages() string {
	var out []string
	for _, e := range k.events {
		out = append(out, string(e.Stage))
	}
	return strings.Join(out, " ")
}

func all(level Level) *Policy { return &Policy{Rules: []Rule{{Level: level}}} }

func newRequest() *request.Request {
	return &request.Request{
		Info: request.Info{IsResource: true, Verb: "create", Version: "v1", Resource: "pods", Namespace: "ns"},
		User: request.User{Name: "u", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}, AuditID: "id", UserAgent: "agent",
		Received: time.Date(2030, 1, 1, 0, 0, 0, 1000, time.UTC),
	}
}

func TestRecord(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	for level, want := range map[Level][2]bool{Metadata: {false, false}, Request: {true, false}, RequestResponse: {true, true}} {
		k := &kept{}
		a := New(all(level), k)
		a.now = func() time.Time { return time.Date(2030, 1, 1, 0, 0, 1, 0, time.UTC) }
		a.policy.OmitManagedFields = true
		r := newRequest()
		ctx, rec, err := a.Begin(request.With(context.Background(), r), r, Origin{URI: "/api/v1/namespaces/ns/pods", SourceIPs: []string{"10.0.0.1"}})
		if err != nil || From(ctx) != rec {
			t.Fatal(err)
		}
		rec.Impersonated(&request.User{Name: "other"}, "")
		rec.RequestObject(pod)
		request.Annotate(ctx, "authorization.k8s.io/decision", "allow")
		rec.ResponseObject(pod)
		rec.Complete(201, nil)
		rec.Complete(500, nil) // only the first counts
		if got := k.stages(); got != "RequestReceived ResponseComplete" {
			t.Errorf("%s: %s", level, got)
		}
		e := k.events[1]
		if (e.RequestObject != nil) != want[0] || (e.ResponseObject != nil) != want[1] {
			t.Errorf("%s: %s %s", level, e.RequestObject, e.ResponseObject)
		}
		if bytes.Contains(e.RequestObject, []byte("managedFields")) || len(pod.ManagedFields) == 0 {
			t.Error("managedFields")
		}
		e.RequestObject, e.ResponseObject = nil, nil
		raw, _ := json.Marshal(e)
		if want := `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"` + string(level) + `","auditID":"id","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/ns/pods","verb":"create",` +
			`"user":{"username":"u","groups":["g"],"extra":{"k":["v"]}},"impersonatedUser":{"username":"other"},"sourceIPs":["10.0.0.1"],"userAgent":"agent",` +
			`"objectRef":{"resource":"pods","namespace":"ns","name":"p","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},` +
			`"requestReceivedTimestamp":"2030-01-01T00:00:00.000001Z","stageTimestamp":"2030-01-01T00:00:01.000000Z","annotations":{"authorization.k8s.io/decision":"allow"}}`; string(raw) != want {
			t.Errorf("%s\nwant\n%s", raw, want)
		}
	}
}

func TestRecordStages(t *testing.T) {
	k := &kept{}
	a := New(all(Metadata), k)
	r := newRequest()
	_, rec, _ := a.Begin(context.Background(), r, Origin{})
	rec.Started(200)
	rec.Panicked("x")
	rec.Complete(500, nil)
	if got := k.stages(); got != "RequestReceived ResponseStarted Panic" {
		t.Error(got)
	}
	k.events = nil
	r.AuthMethod, r.CredentialID = "x509", "X509SHA256=1"
	_, rec, _ = a.Begin(context.Background(), r, Origin{})
	if got := k.events[0].Annotations; rec == nil || got["authentication.xebec.dev/method"] != "x509" || got["authentication.xebec.dev/credential-id"] != "X509SHA256=1" {
		t.Errorf("annotations %v", got)
	}
	r.AuthMethod, r.CredentialID = "", ""
	k.events = nil
	a.FailedAuthentication(r, Origin{}, "bearer")
	if len(k.events) != 1 || k.events[0].Stage != ResponseStarted || k.events[0].ResponseStatus.Message != "Authentication failed, attempted: bearer" || k.events[0].User.Username != "" {
		t.Errorf("%+v", k.events)
	}
	if _, rec, _ := New(all(None), k).Begin(context.Background(), r, Origin{}); rec != nil {
		t.Error("a record at level None")
	}
	var none *Record
	none.RequestObject(&corev1.Pod{})
	none.ResponseObject(&corev1.Pod{})
	none.RequestPatch(nil)
	none.Started(1)
	none.Complete(1, nil)
	none.Panicked(1)
	none.Impersonated(nil, "")
	var off *Auditor
	if _, rec, err := off.Begin(context.Background(), r, Origin{}); rec != nil || err != nil {
		t.Error("an auditor that is off")
	}
}

func TestStrict(t *testing.T) {
	for _, strict := range []bool{false, true} {
		told := 0
		b := &blocking{to: &kept{fail: true}, strict: strict, onError: func(error) { told++ }}
		_, rec, err := New(all(Metadata), b).Begin(context.Background(), newRequest(), Origin{})
		if (err != nil) != strict || told != 1 || b.lost.Load() != 1 {
			t.Errorf("strict %v: %v, told %d", strict, err, told)
		}
		rec.Complete(200, nil)
	}
}

func TestBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		b := newBatching(k, BatchOptions{BufferSize: 10, MaxSize: 3, MaxWait: 30 * time.Second, Throttle: true, QPS: 1, Burst: 1}, 2, func(error) {})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.Run(ctx) }()
		count := func() int { synctest.Wait(); k.mu.Lock(); defer k.mu.Unlock(); return len(k.events) }
		b.Process(&Event{}, &Event{})
		if n := count(); n != 0 {
			t.Errorf("%d sent before the batch is full", n)
		}
		time.Sleep(31 * time.Second)
		if n := count(); n != 2 {
			t.Errorf("%d sent after the time", n)
		}
		b.Process(&Event{}, &Event{}, &Event{}, &Event{}, &Event{}, &Event{})
		if n := count(); n != 5 {
			t.Errorf("%d sent at once, the second batch is throttled", n)
		}
		time.Sleep(2 * time.Second)
		if n := count(); n != 8 {
			t.Errorf("%d sent", n)
		}
		b.Process(&Event{})
		synctest.Wait()
		cancel()
		<-done
		if n := count(); n != 9 {
			t.Errorf("%d sent at the end", n)
		}
		for range 30 {
			b.Process(&Event{})
		}
		if b.lost.Load() != 20 {
			t.Errorf("%d lost", b.lost.Load())
		}
	})
}

func TestTruncating(t *testing.T) {
	k := &kept{}
	tr := &truncating{to: k, maxEvent: 600, maxBatch: 1000}
	big := &Event{AuditID: "big", RequestObject: json.RawMessage(`"` + strings.Repeat("x", 1000) + `"`)}
	huge := &Event{AuditID: strings.Repeat("x", 1000)}
	err := tr.write(context.Background(), []*Event{{AuditID: "a"}, big, huge, {AuditID: "b"}})
	if err == nil || len(k.events) != 3 {
		t.Fatalf("%v %d", err, len(k.events))
	}
	if e := k.events[1]; e.RequestObject != nil || e.Annotations[truncatedKey] != "true" || big.RequestObject == nil {
		t.Errorf("%+v", e)
	}
}

func TestRotating(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &rotating{path: filepath.Join(dir, "audit.log"), maxBytes: 100, maxBackups: 2, maxAge: time.Hour, compress: true, now: func() time.Time { return now }}
	line := []byte(strings.Repeat("a", 59) + "\n")
	for range 5 {
		if _, err := r.Write(line); err != nil {
			t.Fatal(err)
		}
		r.cleaning.Wait()
		now = now.Add(time.Minute)
	}
	files := r.backups()
	if len(files) != 2 || files[0] != "audit-2030-01-01T00-03-00.000.log.gz" {
		t.Errorf("%v", files)
	}
	info, err := os.Stat(r.path)
	if err != nil || info.Size() != 60 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := r.Write(line); err != nil {
		t.Fatal(err)
	}
	r.cleaning.Wait()
	if files := r.backups(); len(files) != 1 {
		t.Errorf("old files stay: %v", files)
	}
}

func TestLines(t *testing.T) {
	r := newRequest()
	for format, want := range map[string]string{
		"json":   `{"kind":"Event"`,
		"legacy": `2030-01-01T00:00:00.000001000Z AUDIT: id="id" stage="ResponseComplete" ip="10.0.0.1" method="create" user="u" groups="\"g\"" as="<self>" asgroups="<lookup>" user-agent="a\nb" namespace="ns" uri="/x" response="403"`,
	} {
		var out bytes.Buffer
		b := &blocking{to: &lines{format: format, file: &out}, onError: func(err error) { t.Error(err) }}
		r.UserAgent = "a\nb" // must not make a line of its own
		p := all(Metadata)
		p.OmitStages = []Stage{RequestReceived}
		_, rec, _ := New(p, b).Begin(context.Background(), r, Origin{URI: "/x", SourceIPs: []string{"10.0.0.1"}})
		rec.Complete(403, &metav1.Status{Code: 403})
		if got := out.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

func TestSourceIPs(t *testing.T) {
	peer := &net.TCPAddr{IP: net.ParseIP("10.0.0.9"), Port: 1}
	for want, h := range map[string]http.Header{
		"[10.0.0.9]":                 {},
		"[1.1.1.1 2.2.2.2 10.0.0.9]": {"X-Forwarded-For": {"1.1.1.1, junk, 2.2.2.2"}, "X-Real-Ip": {"3.3.3.3"}},
		"[3.3.3.3 10.0.0.9]":         {"X-Real-Ip": {"3.3.3.3"}},
		"[1.1.1.1 10.0.0.9 ]":        nil,
	} {
		if h == nil {
			continue
		}
		if got := fmt.Sprint(SourceIPs(h.Values, peer)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy")
	if err := os.WriteFile(policy, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "logs", "audit.log")
	for args, want := range map[string]string{
		"":                              "off",
		"--audit-log-path=" + log:       "off",
		"--audit-policy-file=" + policy: "off",
		"--audit-policy-file=" + policy + " --audit-log-path=" + log:                                                   "on",
		"--audit-policy-file=" + policy + " --audit-log-path=" + log + " --audit-log-mode=batch --audit-log-maxsize=0": "on",
		"--audit-policy-file=" + policy + " --audit-log-path=" + log + " --audit-log-format=xml":                       "invalid audit log format",
		"--audit-log-mode=x":                  "invalid --audit-log-mode",
		"--audit-webhook-batch-buffer-size=0": "must be a positive number",
		"--audit-policy-file=/no/such":        "no such file",
	} {
		var o Options
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.Flags(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		a, b, err := Build(&o, nil)
		got := "off"
		switch {
		case err != nil:
			got = err.Error()
		case a != nil && b != nil:
			got = "on"
			_, rec, _ := a.Begin(context.Background(), newRequest(), Origin{})
			rec.Complete(200, nil)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	if raw, err := os.ReadFile(log); err != nil || bytes.Count(raw, []byte("\n")) != 2 {
		t.Errorf("%s %v", raw, err)
	}
}
