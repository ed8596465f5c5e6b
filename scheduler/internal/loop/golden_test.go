package loop

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
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/plugins/defaultpreemption"
	"xebec.dev/scheduler/internal/queue"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Scripts of a cluster's life and what the scheduler does about it. A script
// is lines of words; what follows ---- is what came of it, word by word what
// would be written to the API server. Lines are
//
//	node NAME [cpu=4] [mem=8Gi] [pods=110] [zone=a] [KEY=VALUE] [taint=KEY:EFFECT] [cordoned]
//	pod NAME [cpu=100m] [on=NODE] [prio=N] [label=K:V] [tol=KEY] [sel=K:V] [near=K:V@KEY] [away=K:V@KEY]
//	    [spread=K:V@KEY:SKEW] [port=N] [gate=NAME] [never] [scheduler=NAME]
//	pdb NAME K:V ALLOWED; gone POD; ungate POD; delete-node NODE; wait SECONDS; refuse POD; show
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
			got := newStage(t).play(script)
			if *update {
				if err := os.WriteFile(f, []byte(script+"----\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// stage is a loop with writers that note what is written, and a clock.
type stage struct {
	t       *testing.T
	l       *Loop
	at      time.Time
	out     strings.Builder
	pods    map[string]*corev1.Pod
	nodes   map[string]*corev1.Node
	budgets []defaultpreemption.Budget
	refuse  map[string]error
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), pods: map[string]*corev1.Pod{}, nodes: map[string]*corev1.Node{}, refuse: map[string]error{}}
	cfg, err := config.Load("")
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return s.at }
	profiles, err := config.Profiles(cfg, config.Deps{Budgets: func(string) []defaultpreemption.Budget { return slices.Clone(s.budgets) }, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s.l = New(cache.New(), profiles, s, s, Options{Now: now, Seed: 1, Queue: queue.Options{}})
	s.l.leading = true
	return s
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *stage) Bind(p *corev1.Pod, node string, done func(error)) {
	if err := s.refuse[p.Name]; err != nil {
		s.say("bind %s to %s: refused", p.Name, node)
		delete(s.refuse, p.Name)
		done(err)
		return
	}
	s.say("bind %s to %s", p.Name, node)
	done(nil)
	now := s.pods[p.Name].DeepCopy()
	now.Spec.NodeName = node
	s.change(now)
}

func (s *stage) PatchStatus(p *corev1.Pod, patch []byte, done func(error)) {
	text := string(patch)
	for _, c := range []string{`"message":"`, `"nominatedNodeName":`} {
		if _, rest, ok := strings.Cut(text, c); ok {
			value, _, _ := strings.Cut(strings.TrimPrefix(rest, `"`), `"`)
			s.say("status of %s: %s %s", p.Name, strings.Trim(c, `":`), strings.Trim(value, "{}"))
		}
	}
	done(nil)
}

func (s *stage) Delete(p *corev1.Pod, done func(error)) {
	s.say("delete %s", p.Name)
	done(nil)
	now := s.pods[p.Name].DeepCopy()
	now.DeletionTimestamp = &metav1.Time{Time: s.at}
	s.change(now)
}

func (s *stage) Record(p *corev1.Pod, _, kind, reason, _, note string) {
	if reason != "Scheduled" && reason != "FailedScheduling" {
		s.say("event %s %s about %s: %s", kind, reason, p.Name, note)
	}
}

// change tells the loop of a pod's new version, or of its end.
func (s *stage) change(p *corev1.Pod) {
	old := s.pods[p.Name]
	s.pods[p.Name] = p
	s.l.Post(func() { s.l.PodChanged(feed.Change[*corev1.Pod]{Old: old, New: p}) })
}

func (s *stage) play(script string) string {
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		s.do(words)
		for s.l.Step() {
		}
	}
	return s.out.String()
}

func (s *stage) do(w []string) {
	switch w[0] {
	case "node":
		n := s.node(w[1:])
		old := s.nodes[n.Name]
		s.nodes[n.Name] = n
		s.l.NodeChanged(feed.Change[*corev1.Node]{Old: old, New: n})
	case "delete-node":
		s.l.NodeChanged(feed.Change[*corev1.Node]{Old: s.nodes[w[1]]})
	case "pod":
		s.change(s.pod(w[1:]))
	case "pdb":
		allowed, _ := strconv.Atoi(w[3])
		b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: w[1]}}
		k, v, _ := strings.Cut(w[2], ":")
		one := intstr.FromInt32(1)
		b.Spec.MinAvailable, b.Spec.Selector, b.Status.DisruptionsAllowed = &one, &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}, int32(allowed)
		s.budgets = append(s.budgets, defaultpreemption.BudgetOf(b))
	case "gone":
		old := s.pods[w[1]]
		delete(s.pods, w[1])
		s.l.Post(func() { s.l.PodChanged(feed.Change[*corev1.Pod]{Old: old}) })
	case "ungate":
		now := s.pods[w[1]].DeepCopy()
		now.Spec.SchedulingGates = nil
		s.change(now)
	case "wait":
		seconds, _ := strconv.Atoi(w[1])
		s.at = s.at.Add(time.Duration(seconds) * time.Second)
		s.l.Queue.Flush(s.at)
	case "refuse":
		s.refuse[w[1]] = fmt.Errorf("Operation cannot be fulfilled on pods/binding %s", w[1])
	case "show":
		s.show()
	default:
		s.t.Fatalf("what is %q?", w)
	}
}

func (s *stage) show() {
	var lines []string
	for e := range s.l.Queue.All {
		lines = append(lines, fmt.Sprintf("%s %s attempts %d", e.Pod.Obj.Name, e.State(), e.Attempts))
	}
	slices.Sort(lines)
	s.say("queue: %s", strings.Join(lines, ", "))
}

func (s *stage) node(w []string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w[0], UID: types.UID(w[0]), Labels: map[string]string{corev1.LabelHostname: w[0]}}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")}
	for _, word := range w[1:] {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "cpu", "pods":
			n.Status.Allocatable[corev1.ResourceName(k)] = resource.MustParse(v)
		case "mem":
			n.Status.Allocatable[corev1.ResourceMemory] = resource.MustParse(v)
		case "zone":
			n.Labels[corev1.LabelTopologyZone] = v
		case "taint":
			key, effect, _ := strings.Cut(v, ":")
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
		case "cordoned":
			n.Spec.Unschedulable = true
		default:
			n.Labels[k] = v
		}
	}
	return n
}

var keys = map[string]string{"zone": corev1.LabelTopologyZone, "host": corev1.LabelHostname}

func (s *stage) pod(w []string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: w[0], UID: types.UID(w[0]), Labels: map[string]string{}}}
	p.Spec.SchedulerName = corev1.DefaultSchedulerName
	c := corev1.Container{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}}
	a := &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}, PodAntiAffinity: &corev1.PodAntiAffinity{}}
	selector := func(v string) (*metav1.LabelSelector, string) {
		pair, key, _ := strings.Cut(v, "@")
		k, v, _ := strings.Cut(pair, ":")
		return &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}, key
	}
	for _, word := range w[1:] {
		k, v, _ := strings.Cut(word, "=")
		one, two, _ := strings.Cut(v, ":")
		switch k {
		case "cpu":
			c.Resources.Requests[corev1.ResourceCPU] = resource.MustParse(v)
		case "on":
			p.Spec.NodeName = v
		case "prio":
			n, _ := strconv.Atoi(v)
			prio := int32(n)
			p.Spec.Priority = &prio
		case "label":
			p.Labels[one] = two
		case "tol":
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: v, Operator: corev1.TolerationOpExists})
		case "sel":
			p.Spec.NodeSelector = map[string]string{one: two}
		case "near":
			sel, key := selector(v)
			a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, corev1.PodAffinityTerm{LabelSelector: sel, TopologyKey: keys[key]})
		case "away":
			sel, key := selector(v)
			a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, corev1.PodAffinityTerm{LabelSelector: sel, TopologyKey: keys[key]})
		case "spread":
			sel, rest := selector(v)
			key, skew, _ := strings.Cut(rest, ":")
			n, _ := strconv.Atoi(skew)
			p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{MaxSkew: int32(n), TopologyKey: keys[key], LabelSelector: sel, WhenUnsatisfiable: corev1.DoNotSchedule})
		case "port":
			n, _ := strconv.Atoi(v)
			c.Ports = append(c.Ports, corev1.ContainerPort{HostPort: int32(n), Protocol: corev1.ProtocolTCP})
		case "gate":
			p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: v})
		case "never":
			never := corev1.PreemptNever
			p.Spec.PreemptionPolicy = &never
		case "scheduler":
			p.Spec.SchedulerName = v
		default:
			s.t.Fatalf("what is %q of a pod?", word)
		}
	}
	p.Spec.Affinity = a
	p.Spec.Containers = []corev1.Container{c}
	return p
}
