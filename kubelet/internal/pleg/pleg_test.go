package pleg

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// parse reads a listing: "id pod state", comma separated.
func parse(t *testing.T, text string) map[string]runtime.Summary {
	t.Helper()
	out := map[string]runtime.Summary{}
	for item := range strings.SplitSeq(text, ",") {
		f := strings.Fields(item)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			t.Fatalf("%q is not: id pod state", item)
		}
		out[f[0]] = runtime.Summary{UID: types.UID(f[1]), Key: runtime.Key{Namespace: "ns", Name: f[1]}, State: runtime.State(f[2])}
	}
	return out
}

func TestNews(t *testing.T) {
	for _, c := range []struct{ name, last, now, known, changed, found string }{
		{"nothing", "", "", "", "", ""},
		{"all is as it was", "s p running, c p running", "s p running, c p running", "", "", "p"},
		{"something ended", "s p running, c p running", "s p running, c p exited", "", "p", "p"},
		{"what the kubelet itself has done is no news", "s p running", "s p running, c p running", "c p running", "", "p"},
		{"but another state of it is", "s p running", "s p running, c p exited", "c p running", "p", "p"},
		{"something is gone, whoever knows of it", "s p running, c p exited", "s p running", "c p exited", "p", "p"},
		{"a pod is gone", "s p running, s2 q running", "s2 q running", "", "p", "q"},
		{"a pod that nobody knows", "", "s p running", "", "p", "p"},
		{"each pod once", "a p running, b p running, c q running", "a p exited, b p exited, c q exited", "", "p q", "p q"},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := parse(t, c.known)
			changed, found := news(parse(t, c.last), parse(t, c.now), func(uid types.UID, id string, s runtime.State) bool {
				k, ok := known[id]
				return ok && k.UID == uid && k.State == s
			})
			join := func(s []types.UID) string { return strings.Trim(fmt.Sprint(s), "[]") }
			if got := join(slices.Sorted(maps.Keys(changed))); got != c.changed {
				t.Errorf("news of %q, want %q", got, c.changed)
			}
			if got := join(slices.Sorted(maps.Keys(found))); got != c.found {
				t.Errorf("found %q, want %q", got, c.found)
			}
		})
	}
}

// Only the ends of things are news: nobody but the kubelet begins them.
func TestTells(t *testing.T) {
	for kind, want := range map[runtimeapi.ContainerEventType]bool{
		runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT: false, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT: false,
		runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT: true, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT: true,
	} {
		e := &runtimeapi.ContainerEventResponse{ContainerEventType: kind, PodSandboxStatus: &runtimeapi.PodSandboxStatus{Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}}}
		if tells(e) != want || uidOf(e) != "u" {
			t.Errorf("%v: %t of %s", kind, tells(e), uidOf(e))
		}
	}
	if uidOf(&runtimeapi.ContainerEventResponse{}) != "" {
		t.Error("an event without a pod has one")
	}
}

// Three minutes of silence are too much.
func TestHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(nil, Options{})
		if ok, silent := p.Healthy(); ok || silent != 0 {
			t.Errorf("before any answer: %t, %v", ok, silent)
		}
		p.sign()
		time.Sleep(healthy - time.Second)
		if ok, _ := p.Healthy(); !ok {
			t.Error("too impatient")
		}
		time.Sleep(time.Second)
		if ok, silent := p.Healthy(); ok || silent != healthy {
			t.Errorf("after its time: %t, %v", ok, silent)
		}
	})
}

func TestLookNeverBlocks(t *testing.T) {
	p := New(nil, Options{})
	for range 3 {
		p.Look()
	}
	if len(p.look) != 1 {
		t.Errorf("%d looks", len(p.look))
	}
}

// Nothing is known to lack in the runtime before it was listed.
func TestLacks(t *testing.T) {
	p := New(nil, Options{})
	if p.Lacks("p") {
		t.Error("before the first listing")
	}
	p.found.Store(&map[types.UID]runtime.Key{"p": {}})
	if p.Lacks("p") || !p.Lacks("q") {
		t.Error("p was listed, q was not")
	}
}
