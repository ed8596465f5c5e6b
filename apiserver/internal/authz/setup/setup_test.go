package setup

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

func parse(t *testing.T, args ...string) *Options {
	t.Helper()
	var o Options
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &o
}

func deps() Deps { return Deps{Reader: authztest.NewReader(), Scheme: authztest.Scheme()} }

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                                                   "",
		"--authorization-mode=Node,RBAC":                     "",
		"--authorization-mode=RBAC":                          "",
		"--authorization-mode=AlwaysAllow":                   "",
		"--authorization-mode=Foo":                           `authorization-mode "Foo" is not a valid mode`,
		"--authorization-mode=ABAC":                          "ABAC is not supported",
		"--authorization-mode=RBAC,RBAC":                     "has mode specified more than once",
		"--authorization-mode=":                              "at least one authorization-mode must be passed",
		"--authorization-mode=Webhook":                       "config file not passed",
		"--authorization-webhook-config-file=x":              "without mode Webhook",
		"--authorization-webhook-version=v2":                 "is not v1 or v1beta1",
		"--authorization-config=x --authorization-mode=RBAC": "--authorization-config can not be specified when",
		"--authorization-config=/does/not/exist":             "no such file",
	} {
		_, err := Build(parse(t, strings.Fields(args)...), deps())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// hook answers by the user's name and counts.
type hook struct {
	*httptest.Server
	calls atomic.Int32
	last  atomic.Value
}

func newHook(t *testing.T) (*hook, string) {
	h := &hook{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.calls.Add(1)
		var review struct {
			APIVersion string         `json:"apiVersion"`
			Spec       map[string]any `json:"spec"`
		}
		_ = json.NewDecoder(r.Body).Decode(&review)
		h.last.Store(review.APIVersion + fmt.Sprint(review.Spec["groups"], review.Spec["group"]))
		status := `{"allowed":false,"reason":"who?"}`
		switch review.Spec["user"] {
		case "good":
			status = `{"allowed":true,"reason":"good"}`
		case "evil":
			status = `{"allowed":false,"denied":true,"reason":"evil"}`
		case "broken":
			w.WriteHeader(http.StatusForbidden)
			return
		case "away":
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"status":%s}`, status)
	}))
	t.Cleanup(h.Close)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
	return h, write("kubeconfig", `
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: x, user: u}}]
clusters: [{name: x, cluster: {server: "`+h.URL+`", certificate-authority: ca.crt}}]
users: [{name: u, user: {token: secret}}]
`)
}

func ask(z authz.Authorizer, user string, groups ...string) string {
	d, reason, err := z.Authorize(context.Background(), &request.User{Name: user, Groups: groups},
		&request.Info{IsResource: true, Verb: "get", Resource: "pods", Namespace: "n", FieldSelector: "spec.nodeName=a"})
	return fmt.Sprint(d, " ", reason, " ", err != nil)
}

func TestWebhookFlags(t *testing.T) {
	h, kubeconfig := newHook(t)
	for version, sent := range map[string]string{"v1": "authorization.k8s.io/v1[g] <nil>", "v1beta1": "authorization.k8s.io/v1beta1<nil> [g]"} {
		z, err := Build(parse(t, "--authorization-mode=Webhook", "--authorization-webhook-config-file="+kubeconfig, "--authorization-webhook-version="+version), deps())
		if err != nil {
			t.Fatal(err)
		}
		h.calls.Store(0)
		for user, want := range map[string]string{"good": "1 good false", "evil": "2 evil false", "other": "0 who? false", "broken": "0  true", "away": "0  true"} {
			if got := ask(z, user, "g"); got != want {
				t.Errorf("%s: %s, want %s", user, got, want)
			}
		}
		ask(z, "good", "g")
		ask(z, "evil", "g")
		if n := h.calls.Load(); n != 5 {
			t.Errorf("%d calls, want 5: answers are not remembered", n)
		}
		if got := ask(z, "x", "system:masters"); got != "1  false" {
			t.Errorf("masters: %s", got)
		}
		if got := h.last.Load(); got != sent {
			t.Errorf("sent %s, want %s", got, sent)
		}
	}
}

func TestConfigFile(t *testing.T) {
	h, kubeconfig := newHook(t)
	path := filepath.Join(t.TempDir(), "config")
	write := func(policy, condition string) {
		content := `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook.example.com
  webhook:
    authorizedTTL: 1m
    unauthorizedTTL: 1m
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: ` + policy + `
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: ` + kubeconfig + `}
    matchConditions:
    - expression: ` + condition + `
- {type: AlwaysAllow, name: rest}
`
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Deny", `has(request.resourceAttributes) && request.resourceAttributes.namespace == 'n' && request.user != 'skip'`)
	var trouble error
	d := deps()
	d.OnError = func(err error) { trouble = err }
	z, err := Build(parse(t, "--authorization-config="+path), d)
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"good": "1 good false", "evil": "2 evil false", "other": "1  false", "skip": "1  false", "broken": "2  true"} {
		if got := ask(z, user); got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
	h.calls.Store(0)
	ask(z, "skip")
	if h.calls.Load() != 0 {
		t.Error("the webhook was asked although the condition is false")
	}
	chain := z.Authorizer.(*reloading).chain
	write("NoOpinion", `request.user == 'broken'`)
	chain.Check()
	if got := ask(z, "broken"); got != "1  false" || trouble != nil {
		t.Errorf("after reload: %s %v", got, trouble)
	}
	write("Maybe", "'x'")
	chain.Check()
	if got := ask(z, "evil"); got != "1  false" || trouble == nil {
		t.Errorf("a bad file took effect: %s", got)
	}
}

func TestConfigErrors(t *testing.T) {
	head := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n"
	for body, want := range map[string]string{
		"authorizers: []": "at least one authorization mode must be defined",
		"authorizers: [{type: RBAC, name: a}, {type: RBAC, name: b}]":      "Duplicate value",
		"authorizers: [{type: RBAC, name: a}, {type: Node, name: a}]":      "Duplicate value",
		"authorizers: [{type: RBAC}]":                                      "authorizers[0].name: Required value",
		"authorizers: [{type: RBAC, name: A_B}]":                           "authorizer name is invalid",
		"authorizers: [{type: Foo, name: a}]":                              "Unsupported value",
		"authorizers: [{type: RBAC, name: a, x: 1}]":                       `unknown field "authorizers[0].x"`,
		"authorizers: [{type: Webhook, name: a}]":                          "required when type=Webhook",
		"authorizers: [{type: RBAC, name: a, webhook: {}}]":                "may only be specified when type=Webhook",
		"authorizers: [{type: Webhook, name: a, webhook: {timeout: 31s}}]": "must be > 0s and <= 30s",
	} {
		if _, err := parseConfiguration([]byte(head + body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if _, err := parseConfiguration([]byte("apiVersion: v1\nkind: AuthorizationConfiguration\n")); err == nil {
		t.Error("another version is accepted")
	}
	if _, errs := compile([]matchCondition{{"request.usr == ''"}, {"request.user"}, {"1 +"}}, nil); len(errs) != 3 {
		t.Errorf("%v", errs)
	}
}

func TestMetrics(t *testing.T) {
	d := deps()
	r := prometheus.NewRegistry()
	d.Metrics = r
	z, err := Build(parse(t, "--authorization-mode=RBAC,AlwaysAllow"), d)
	if err != nil {
		t.Fatal(err)
	}
	ask(z, "u")
	ask(z, "u", "system:masters")
	if rules, err := z.RulesFor(context.Background(), &request.User{Name: "u"}, "n"); err != nil || len(rules.Resource) != 1 {
		t.Errorf("%v %v", rules, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if m.Counter != nil {
				got[f.GetName()+fmt.Sprint(m.Label)] += m.Counter.GetValue()
			}
		}
	}
	for k, v := range got {
		if strings.HasPrefix(k, "authorization_attempts_total") && v != 2 || strings.Contains(k, "AlwaysAllow") && strings.Contains(k, `"allowed"`) && v != 1 {
			t.Errorf("%s %v", k, v)
		}
	}
	if len(got) != 5 {
		t.Errorf("%v", got)
	}
}
