package replay

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/test/apiservertest"
)

// files are the conversations that need built-in APIs only; admission, crd
// and aggregation-flow need extensions.
var files = []string{
	"apps.jsonl", "autoscaling-policy.jsonl", "batch.jsonl", "certificates.jsonl", "core-other.jsonl", "core-pod.jsonl",
	"core-service.jsonl", "machinery-list-watch.jsonl", "machinery-negotiation.jsonl", "machinery-patch-apply.jsonl",
	"machinery-verbs.jsonl", "misc-groups.jsonl", "networking-discovery.jsonl", "rbac-auth.jsonl", "resource-claims.jsonl", "storage.jsonl",
}

// alone are files whose cases see each other through cluster-wide defaults
// and names: they run one after the other, as they were recorded.
var alone = map[string]bool{"misc-groups.jsonl": true, "storage.jsonl": true, "core-other.jsonl": true, "certificates.jsonl": true}

// TestObserved replays what Kubernetes answered. A case that differs is an
// error unless exceptions.txt names it with a reason; a named case that no
// longer differs is one too, so that the list stays true.
func TestObserved(t *testing.T) {
	s := apiservertest.Start(t, "--token-auth-file="+apiservertest.RecordedTokens(t), "--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/16")
	observe(t, s, files)
}

// TestObservedNodeRestriction was recorded with that plugin on.
func TestObservedNodeRestriction(t *testing.T) {
	s := apiservertest.Start(t, "--token-auth-file="+apiservertest.RecordedTokens(t), "--disable-admission-plugins=ServiceAccount", "--enable-admission-plugins=NodeRestriction")
	observe(t, s, []string{"node-restriction.jsonl"})
}

func observe(t *testing.T, s *apiservertest.Server, files []string) {
	exceptions := loadExceptions(t)
	r := &Runner{URL: s.URL, Client: s.TokenClient(t, apiservertest.RecordedAdmin)}
	for _, f := range files {
		cases, err := observedtest.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(f, ".jsonl"), func(t *testing.T) {
			for i := range cases {
				c := &cases[i]
				t.Run(c.ID, func(t *testing.T) {
					if !alone[f] && (c.Namespace == nil || *c.Namespace) {
						t.Parallel()
					}
					diff := r.Run(context.Background(), c)
					reason, excepted := exceptions[c.ID]
					switch {
					case len(diff) > 0 && !excepted:
						t.Errorf("%s\n  %s", c.About, strings.Join(diff[:min(len(diff), 6)], "\n  "))
					case len(diff) == 0 && excepted:
						t.Errorf("is an exception (%s) but equals the recording: take it off the list", reason)
					}
				})
			}
		})
	}
}

// loadExceptions reads exceptions.txt: an id, a space, the reason.
func loadExceptions(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(observedtest.Dir(), "exceptions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, ok := strings.Cut(line, " ")
		if !ok {
			t.Errorf("exceptions.txt: %s has no reason", id)
		}
		out[id] = reason
	}
	return out
}
