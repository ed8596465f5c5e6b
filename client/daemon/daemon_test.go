package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/client/clienttest"
)

func program(run func(ctx context.Context, p *Process) error) *Program {
	return &Program{
		Name: "kube-test", About: "A test.", Defaults: Defaults{SecurePort: 10259, LeaseName: "kube-test", LeaderElect: true},
		Gates:   []Gate{{Name: "New", Stage: Alpha}, {Name: "Old", Default: true, Stage: Stable}},
		Ignored: map[string]string{"gone": "it went"}, Run: run,
		AddFlags: func(fs *pflag.FlagSet) { fs.Int("parallelism", 16, "How many at once.") },
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		run    error
		code   int
		stdout string
		stderr string
	}{
		{args: []string{"--help"}, stdout: "      --kubeconfig string"},
		{args: []string{"--version"}, stdout: "Kubernetes v1."},
		{args: []string{"--version=raw"}, stdout: "gitVersion"},
		{args: []string{"--kubeconfg=x"}, code: 1, stderr: "did you mean --kubeconfig?"},
		{args: []string{"--parallelism=x"}, code: 1, stderr: "invalid argument"},
		{args: []string{"serve"}, code: 1, stderr: "takes flags only"},
		{args: []string{"--logging-format=xml"}, code: 1, stderr: "neither text nor json"},
		{args: []string{"--feature-gates=Old=false"}, code: 1, stderr: "locked"},
		{args: []string{"--gone", "--kube-api-qps=50", "--feature-gates=New=true,Unknown=true"}, stderr: "has no effect"},
		{run: errors.New("broken"), code: 1, stderr: "broken"},
	} {
		var stdout, stderr bytes.Buffer
		p := program(func(context.Context, *Process) error { return tt.run })
		if code := run(t.Context(), p, tt.args, &stdout, &stderr); code != tt.code {
			t.Errorf("%v: code %d, want %d\n%s", tt.args, code, tt.code, &stderr)
		}
		if !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%v: output %q and %q", tt.args, &stdout, &stderr)
		}
	}
}

func TestHelpHasAFlagPerLine(t *testing.T) {
	var stdout bytes.Buffer
	run(t.Context(), program(nil), []string{"--help"}, &stdout, io.Discard)
	for _, name := range []string{"leader-elect", "bind-address", "secure-port", "tls-cert-file", "profiling", "feature-gates", "config", "authorization-always-allow-paths"} {
		if !regexp.MustCompile(`(?m)^ {6}--` + name + `\b`).MatchString(stdout.String()) {
			t.Errorf("--help lacks --%s", name)
		}
	}
}

func TestRunEndsWithTheFirst(t *testing.T) {
	broken := errors.New("broken")
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if err := Run(t.Context(), wait, func(context.Context) error { return broken }, wait); err != broken {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, wait, wait); err != nil {
		t.Errorf("when asked to stop: %v", err)
	}
}

func TestGates(t *testing.T) {
	g := newGates([]Gate{{Name: "A", Stage: Alpha}, {Name: "B", Default: true, Stage: Beta}, {Name: "C", Stage: Alpha}})
	if err := g.Set("AllAlpha=true, C=false,Stray=true"); err != nil {
		t.Fatal(err)
	}
	if !g.Enabled("A") || !g.Enabled("B") || g.Enabled("C") || len(g.unknown()) != 1 {
		t.Errorf("got %s, unknown %v", g, g.unknown())
	}
	for _, bad := range []string{"A", "A=maybe"} {
		if g.Set(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestConfigIsStrict(t *testing.T) {
	var out struct {
		APIVersion  string `json:"apiVersion"`
		Kind        string `json:"kind"`
		Parallelism int    `json:"parallelism"`
	}
	decode := func(text string) error {
		_, err := DecodeConfig([]byte(text), "test.k8s.io", "TestConfiguration", []string{"v1"}, &out)
		return err
	}
	head := "apiVersion: test.k8s.io/v1\nkind: TestConfiguration\n"
	if err := decode(head + "parallelism: 3\n"); err != nil || out.Parallelism != 3 {
		t.Errorf("%v, %+v", err, out)
	}
	for text, want := range map[string]string{
		head + "paralelism: 3\n":                              `unknown field "paralelism"`,
		head + "parallelism: 3\nparallelism: 4\n":             "already set",
		"apiVersion: test.k8s.io/v2\nkind: TestConfiguration": "no kind",
		head + "parallelism: many\n":                          "cannot unmarshal",
	} {
		if err := decode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// serve runs a process's endpoint and gives its URL.
func serve(t *testing.T, args []string, guard func(http.Handler) http.Handler) (*Process, string) {
	p := newProcess(program(nil))
	if code, done := p.parse(args, io.Discard, os.Stderr); done {
		t.Fatalf("code %d", code)
	}
	p.Log = zap.NewNop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var h http.Handler = p.Mux()
	if guard != nil {
		h = guard(h)
	}
	go func() { done <- p.ServeOn(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("serve ended with %v", err)
		}
	})
	return p, "https://" + l.Addr().String()
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // its own certificate
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestEndpoint(t *testing.T) {
	p, url := serve(t, nil, nil)
	sick := true
	p.Health.Add(Check{Name: "sync", ReadyOnly: true, Func: func(context.Context) error {
		if sick {
			return errors.New("not synced")
		}
		return nil
	}})
	p.Configz.Set("test.k8s.io", map[string]int{"parallelism": 3})
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/healthz":             {200, "ok"},
		"/livez?verbose":       {200, "[+]ping ok\nlivez check passed\n"},
		"/readyz":              {500, "[+]ping ok\n[-]sync failed: reason withheld\nreadyz check failed\n"},
		"/readyz?exclude=sync": {200, "ok"},
		"/readyz/sync":         {500, "internal server error: not synced\n"},
		"/readyz/none":         {404, "404 page not found\n"},
		"/configz":             {200, `{"test.k8s.io":{"parallelism":3}}`},
		"/debug/pprof/cmdline": {200, ""},
	} {
		code, body := get(t, url+path, "")
		if code != want.code || want.body != "" && body != want.body {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	sick = false
	if code, _ := get(t, url+"/readyz", ""); code != 200 {
		t.Errorf("readyz: %d", code)
	}
	for path, want := range map[string]string{
		"/metrics": "kubernetes_build_info", "/metrics/slis": `kubernetes_healthcheck{name="ping",type="livez"} 1`, "/flagz": "secure-port=10259", "/statusz": "Emulation version: 1.37\nPaths: /configz", "/version": "gitVersion",
	} {
		if code, body := get(t, url+path, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, without %s", path, code, want)
		}
	}
}

func TestAccess(t *testing.T) {
	s := clienttest.New(t, builtin.Scheme())
	s.Review = func(obj scheme.Message) {
		switch o := obj.(type) {
		case *authenticationv1.TokenReview:
			o.Status.Authenticated = o.Spec.Token == "good" || o.Spec.Token == "poor"
			o.Status.User = authenticationv1.UserInfo{Username: o.Spec.Token}
		case *authorizationv1.SubjectAccessReview:
			o.Status.Allowed = o.Spec.User == "good" && o.Spec.NonResourceAttributes.Path == "/metrics" && o.Spec.NonResourceAttributes.Verb == "get"
		}
	}
	c := s.Client(t)
	guard := &Access{AlwaysAllow: []string{"/healthz", "/readyz*"}, Tokens: c, Rules: c}
	_, url := serve(t, nil, guard.Wrap)
	for _, tt := range []struct {
		path, token string
		code        int
	}{
		{"/healthz", "", 200}, {"/readyz/ping", "", 200}, {"/metrics", "", 403}, {"/metrics", "bad", 401},
		{"/metrics", "poor", 403}, {"/metrics", "good", 200}, {"/metrics", "good", 200}, {"/configz", "good", 403},
	} {
		if code, body := get(t, url+tt.path, tt.token); code != tt.code {
			t.Errorf("%s as %q: %d %s, want %d", tt.path, tt.token, code, body, tt.code)
		}
	}
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
	dir := t.TempDir()
	f := &Flags{CertDir: dir}
	c, err := newCertificates(f, "kube-test")
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.choose(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := selfSigned(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := &keyPair{cert: filepath.Join(dir, "kube-test.crt"), key: filepath.Join(dir, "kube-test.key")}
	if err := savePair(k, pair); err != nil {
		t.Fatal(err)
	}
	c.regular.checked = time.Time{}
	second, err := c.choose(&tls.ClientHelloInfo{})
	if err != nil || bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Errorf("the new certificate is not served: %v", err)
	}
	if err := os.WriteFile(k.cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.regular.checked = time.Time{}
	third, err := c.choose(&tls.ClientHelloInfo{})
	if err != nil || !bytes.Equal(third.Certificate[0], second.Certificate[0]) {
		t.Errorf("a broken file took the certificate away: %v", err)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := l.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
