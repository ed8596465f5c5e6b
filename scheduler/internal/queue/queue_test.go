package queue

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Plugins of the scripts: fit waits for pods to go, where the hint asks for
// the pod's own label; ports waits for nodes; gate gates while labelled.
type fit struct{}

func (fit) Name() string { return "fit" }
func (fit) Events() []framework.EventHint {
	return []framework.EventHint{{Object: framework.AssignedPod, Action: framework.Delete, Hint: func(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
		return framework.Hint(e.Old.(*cache.Pod).Obj.Name == "frees-"+p.Obj.Name)
	}}}
}

type ports struct{}

func (ports) Name() string { return "ports" }
func (ports) Events() []framework.EventHint {
	return []framework.EventHint{{Object: framework.Node, Action: framework.Add}, {Object: framework.TargetPod, Action: framework.UpdatePodLabel}}
}

type gate struct{}

func (gate) Name() string { return "gate" }
func (gate) PreEnqueue(p *cache.Pod) *framework.Status {
	if p.Obj.Labels["gated"] != "" {
		return framework.NewStatus("gate", framework.Unresolvable, "gated")
	}
	return nil
}

type sorter struct{}

func (sorter) Name() string { return "sorter" }
func (sorter) Less(a, b *framework.Queued) bool {
	if a.Pod.Priority() != b.Pod.Priority() {
		return a.Pod.Priority() > b.Pod.Priority()
	}
	return a.Added.Before(b.Added)
}

// TestScripts plays lines and prints where every pod is after each:
//
//	add POD [PRIORITY]; gated POD; ungate POD; label POD; delete POD; pop
//	reject POD PLUGIN…; pending POD PLUGIN; fail POD; activate POD
//	freed POD; node; wake; wait SECONDS
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), "----\n")
			got := play(t, script)
			if *update {
				if err := os.WriteFile(f, []byte(script+"----\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

type player struct {
	c       *cache.Cluster
	q       *Queue
	profile *framework.Profile
	at      time.Time
	pods    map[string]*cache.Pod
	events  []string
}

func play(t *testing.T, script string) string {
	t.Helper()
	p := &player{c: cache.New(), at: time.Unix(0, 0), pods: map[string]*cache.Pod{}}
	p.profile = &framework.Profile{Name: "p", QueueSort: sorter{}, PreEnqueue: []framework.PreEnqueuer{gate{}}, Enqueue: []framework.Enqueuer{fit{}, ports{}}, Wildcard: map[string]bool{"wild": true}}
	p.q = New([]*framework.Profile{p.profile}, Options{Moved: func(e *Entry, event string) {
		p.events = append(p.events, e.Pod.Obj.Name+"→"+e.State().String()+" ("+event+")")
	}})
	var out strings.Builder
	for line := range strings.Lines(script) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		p.events = nil
		said := p.do(t, w)
		p.at = p.at.Add(time.Millisecond) // things happen one after the other
		fmt.Fprintf(&out, "%-22s %s%s\n", strings.Join(w, " "), said, strings.Join(p.events, ", "))
	}
	return out.String()
}

func (p *player) pod(name string, priority int32, labels map[string]string) *cache.Pod {
	obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: labels}, Spec: corev1.PodSpec{Priority: &priority}}
	pod := p.c.NewPod(obj)
	p.pods[name] = pod
	return pod
}

func (p *player) do(t *testing.T, w []string) string {
	t.Helper()
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	uid := types.UID(arg(1))
	switch w[0] {
	case "add":
		n, _ := strconv.Atoi(arg(2))
		p.q.Add(p.pod(arg(1), int32(n), nil), p.profile, p.at)
	case "gated":
		p.q.Add(p.pod(arg(1), 0, map[string]string{"gated": "yes"}), p.profile, p.at)
	case "ungate", "label":
		labels := map[string]string{"x": "y"}
		p.q.Update(p.c, p.pod(arg(1), 0, labels), &framework.Event{Object: framework.TargetPod, Action: framework.UpdatePodLabel, Label: "PodUpdate"}, p.at)
	case "delete":
		p.q.Delete(uid)
	case "pop":
		e := p.q.Pop(p.at)
		if e == nil {
			return "nothing "
		}
		return fmt.Sprintf("%s, attempt %d ", e.Pod.Obj.Name, e.Attempts)
	case "reject":
		plugins := map[string]bool{}
		for _, n := range w[2:] {
			plugins[n] = true
		}
		p.q.Reject(p.q.Get(uid), plugins, nil, p.at)
	case "pending":
		p.q.Reject(p.q.Get(uid), map[string]bool{arg(2): true}, map[string]bool{arg(2): true}, p.at)
	case "fail":
		p.q.Fail(p.q.Get(uid), p.at)
	case "activate":
		p.q.Activate(uid)
	case "freed":
		p.q.Event(p.c, &framework.Event{Object: framework.AssignedPod, Action: framework.Delete, Label: "PodDelete", Old: p.pod("frees-"+arg(1), 0, nil)}, p.at)
	case "node":
		p.q.Event(p.c, &framework.Event{Object: framework.Node, Action: framework.Add, Label: "NodeAdd"}, p.at)
	case "wake":
		p.q.Wake("Wake", p.at)
	case "wait":
		n, err := strconv.ParseFloat(arg(1), 64)
		if err != nil {
			t.Fatal(err)
		}
		p.at = p.at.Add(time.Duration(n * float64(time.Second)))
		p.q.Flush(p.at)
		slices.Sort(p.events)
	default:
		t.Fatalf("what is %q?", w)
	}
	return ""
}
