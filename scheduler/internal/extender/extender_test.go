package extender

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/schedule"
	"xebec.dev/scheduler/workload"
)

// serve answers each verb by a function from the decoded request.
func serve(t *testing.T, verbs map[string]func(q map[string]any) any) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := verbs[strings.TrimPrefix(r.URL.Path, "/")]
		var q map[string]any
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || f == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(f(q)) // a test's client
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func one1(t *testing.T, e config.Extender) *Extenders {
	t.Helper()
	e.HTTPTimeout = metav1.Duration{Duration: 30 * time.Second}
	x, err := New([]config.Extender{e})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func candidates(names ...string) (out []schedule.Candidate) {
	c := cache.New()
	for _, n := range names {
		out = append(out, schedule.Candidate{Node: c.SetNode(workload.Node(n, nil)), Score: 100})
	}
	return out
}

func TestFilterAndPrioritize(t *testing.T) {
	for _, cached := range []bool{true, false} {
		url := serve(t, map[string]func(map[string]any) any{
			"filter": func(q map[string]any) any {
				if cached != (q["NodeNames"] != nil) || cached == (q["Nodes"] != nil) {
					t.Errorf("cached %v: request has %v", cached, q)
				}
				if cached {
					return map[string]any{"NodeNames": []string{"a", "c"}, "FailedNodes": map[string]string{"b": "is blue"}}
				}
				return map[string]any{"Nodes": corev1.NodeList{Items: []corev1.Node{*workload.Node("a", nil), *workload.Node("c", nil)}}, "FailedAndUnresolvableNodes": map[string]string{"b": "is blue"}}
			},
			"prioritize": func(map[string]any) any { return []map[string]any{{"Host": "c", "Score": 7}} },
		})
		x := one1(t, config.Extender{URLPrefix: url, FilterVerb: "filter", PrioritizeVerb: "prioritize", Weight: 2, NodeCacheCapable: cached})
		left, failed, err := x.Extend(t.Context(), workload.Pod("t", "p"), candidates("a", "b", "c"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range left {
			got = append(got, n.Node.Name)
		}
		if !slices.Equal(got, []string{"a", "c"}) || left[1].Score != 100+7*2*10 || left[0].Score != 100 {
			t.Errorf("left %v: %+v", got, left)
		}
		if failed["b"].Message() != "is blue" {
			t.Errorf("failed %v", failed)
		}
	}
}

func TestFailures(t *testing.T) {
	pod := workload.Pod("t", "p")
	x := one1(t, config.Extender{URLPrefix: serve(t, nil), FilterVerb: "filter"})
	if _, _, err := x.Extend(t.Context(), pod, candidates("a")); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a failing extender: %v", err)
	}
	x = one1(t, config.Extender{URLPrefix: serve(t, nil), FilterVerb: "filter", Ignorable: true})
	if left, _, err := x.Extend(t.Context(), pod, candidates("a")); err != nil || len(left) != 1 {
		t.Errorf("an ignorable extender: %v, %v", left, err)
	}
}

func TestManagedResources(t *testing.T) {
	x := one1(t, config.Extender{URLPrefix: "http://127.0.0.1:1", FilterVerb: "filter", BindVerb: "bind", ManagedResources: []config.ManagedResource{{Name: "example.com/fpga"}}})
	p := workload.Pod("t", "p")
	if x.Interested(p) || x.Binds(p) {
		t.Error("interested in a pod without the resource")
	}
	p.Spec.Containers[0].Resources.Requests["example.com/fpga"] = resource.MustParse("1")
	if !x.Interested(p) || !x.Binds(p) {
		t.Error("not interested in a pod with the resource")
	}
}

func TestBindAndPreempt(t *testing.T) {
	var bound map[string]any
	url := serve(t, map[string]func(map[string]any) any{
		"bind": func(q map[string]any) any { bound = q; return map[string]any{} },
		"preempt": func(map[string]any) any {
			return map[string]any{"NodeNameToMetaVictims": map[string]any{"b": map[string]any{"Pods": []map[string]string{{"UID": "t/v2"}}}}}
		},
	})
	x := one1(t, config.Extender{URLPrefix: url, BindVerb: "bind", PreemptVerb: "preempt"})
	p := workload.Pod("t", "p")
	if err := x.Bind(t.Context(), p, "a"); err != nil || bound["PodName"] != "p" || bound["Node"] != "a" || bound["PodUID"] != "t/p" {
		t.Errorf("bind %v: %v", bound, err)
	}
	c := cache.New()
	victims := map[string][]*cache.Pod{"a": {c.NewPod(workload.Pod("t", "v1"))}, "b": {c.NewPod(workload.Pod("t", "v2")), c.NewPod(workload.Pod("t", "v3"))}}
	left, err := x.Preempt(t.Context(), p, victims)
	if err != nil || len(left) != 1 || len(left["b"]) != 1 || left["b"][0].Obj.Name != "v2" {
		t.Errorf("left %v: %v", left, err)
	}
}
