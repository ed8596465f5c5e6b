package credential

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const head = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"

func TestParse(t *testing.T) {
	const good = "{name: ecr, matchImages: ['*.dkr.ecr.*.amazonaws.com'], defaultCacheDuration: 12h, apiVersion: credentialprovider.kubelet.k8s.io/v1}"
	for _, c := range []struct{ text, want string }{
		{head + "providers: [" + good + "]", ""},
		{head, "providers: Required value"},
		{"kind: CredentialProviderConfig\napiVersion: v1\nproviders: [" + good + "]", `expected CredentialProviderConfig of kubelet.config.k8s.io/v1`},
		{head + "providers: [{}]", "name is required"},
		{head + "providers: [{name: a/b}]", "name must be that of a file"},
		{head + "providers: [{name: a, apiVersion: v9}]", `Unsupported value: "v9"`},
		{head + "providers: [{name: a}]", "at least 1 item in matchImages is required"},
		{head + "providers: [{name: a, matchImages: ['[a']}]", "providers[0].matchImages[0]: Invalid value"},
		{head + "providers: [{name: a, defaultCacheDuration: -1s}]", "must be greater than or equal to 0"},
		{head + "providers: [{name: a}]", "defaultCacheDuration is required"},
		{head + "providers: [{name: a, tokenAttributes: {serviceAccountTokenAudience: x}}]", "no tokens of service accounts"},
		{head + "providers: [{nmae: a}]", `unknown field "nmae"`},
	} {
		_, err := parse([]byte(c.text))
		if c.want == "" {
			if err != nil {
				t.Errorf("%v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

// programs makes one program of a script, which writes each run's input below
// the directory that it gives.
func programs(t *testing.T, script, more string, o Options) (*Programs, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"helper":      "#!/bin/sh\ncat > " + dir + "/run.$$\n" + script + "\n",
		"config.yaml": head + "providers: [{name: helper, matchImages: ['*.example.com', '127.0.0.1:5000'], defaultCacheDuration: 1m, apiVersion: credentialprovider.kubelet.k8s.io/v1" + more + "}]",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(filepath.Join(dir, "config.yaml"), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return p, dir
}

func runs(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(dir + "/run.*")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func says(kind, duration string) string {
	if duration != "" {
		duration = `"cacheDuration":"` + duration + `",`
	}
	return fmt.Sprintf(`echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":%q,%s"auth":{"*.example.com":{"username":"any","password":"p"},"a.example.com/team":{"username":"team","password":"q"},"other.io":{"username":"no"}}}'`, kind, duration)
}

// Who is asked, with what, and which of the answer counts in which order.
func TestCredentials(t *testing.T) {
	p, dir := programs(t, says("Image", "")+"; test \"$A $1\" = \"b get\"", ", args: [get], env: [{name: A, value: b}]", Options{})
	for image, want := range map[string]string{"a.example.com/team/app:1": "team any", "a.example.com/other:1": "any", "b.example.com/team/app": "any", "example.com/app": "", "app": "", "b.example.com:5000/app": "", "BAD//": ""} {
		auths, err := p.Credentials(t.Context(), image)
		var got []string
		for _, a := range auths {
			got = append(got, a.Username)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q; %v", image, got, want, err)
		}
	}
	asked := map[string]bool{}
	for _, f := range runs(t, dir) {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		asked[string(raw)] = true
	}
	if want := `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"a.example.com/team/app"}`; len(asked) != 3 || !asked[want] {
		t.Errorf("asked %v", asked)
	}
}

// Answers are kept by image, by registry or for all, as long as they say.
func TestKept(t *testing.T) {
	for _, c := range []struct {
		kind, duration string
		wait           time.Duration
		want           int // runs for two images of a registry and one of another, twice each
	}{{"Image", "", 0, 3}, {"Registry", "", 0, 2}, {"Global", "", 0, 1}, {"Global", "0s", 0, 6}, {"Global", "1h", 2 * time.Minute, 1}, {"Image", "", 2 * time.Minute, 6}} {
		clock := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
		p, dir := programs(t, says(c.kind, c.duration), "", Options{Now: func() time.Time { return clock }})
		for range 2 {
			for _, image := range []string{"a.example.com/one", "a.example.com/two:2", "b.example.com/one"} {
				if auths, err := p.Credentials(t.Context(), image); err != nil || len(auths) != 1 {
					t.Fatal(auths, err)
				}
			}
			clock = clock.Add(c.wait)
		}
		if got := len(runs(t, dir)); got != c.want {
			t.Errorf("%s for %q, asked again after %v: %d runs, want %d", c.kind, c.duration, c.wait, got, c.want)
		}
	}
}

// Those who want the same at once share a run; who comes late has its answer.
func TestShared(t *testing.T) {
	p, dir := programs(t, "sleep 0.1\n"+says("Image", "1h"), "", Options{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if auths, err := p.Credentials(t.Context(), "a.example.com/one"); err != nil || len(auths) != 1 {
				t.Error(auths, err)
			}
		})
	}
	group.Wait()
	if got := len(runs(t, dir)); got != 1 {
		t.Errorf("%d runs", got)
	}
}

// What goes wrong is told without what the program answered.
func TestFails(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"echo why >&2; exit 3", "exit status 3: why"},
		{"echo secret", "did not say a CredentialProviderResponse in JSON"},
		{`echo '{"kind":"Other"}'`, `said kind "Other"`},
		{strings.ReplaceAll(says("Image", ""), "/v1", "/v2"), `of "credentialprovider.kubelet.k8s.io/v2"`},
		{says("Odd", ""), `cacheKeyType "Odd"`},
		{"head -c 2000000 /dev/zero", "said more than 1048576 bytes"},
	} {
		failed := 0
		p, _ := programs(t, c.script, "", Options{Ran: func(name string, _ time.Duration, err error) {
			if name == "helper" && err != nil {
				failed++
			}
		}})
		auths, err := p.Credentials(t.Context(), "a.example.com/one")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || len(auths) != 0 || failed != 1 {
			t.Errorf("%s: %v, want %q; %d failed", c.script, err, c.want, failed)
		}
	}
	if _, err := Load(t.TempDir(), "", Options{}); err == nil || !strings.Contains(err.Error(), "has no file") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.yaml", []byte(head+"providers: [{name: none, matchImages: [x.io], defaultCacheDuration: 0s, apiVersion: credentialprovider.kubelet.k8s.io/v1}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, dir, Options{}); err == nil || !strings.Contains(err.Error(), "is no program: install it there") {
		t.Error(err)
	}
}
