package scheduling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
	"xebec.dev/test/apiservertest"
	"xebec.dev/test/scheduling/plant"
)

// nodesOf follows every pod and fails when one gets a second node.
func (e *env) nodesOf(ctx context.Context) (rebound func() []string) {
	e.Helper()
	s := stream.New(e.c, stream.Options{})
	r, err := client.ResourceOf[*corev1.Pod](e.c)
	if err != nil {
		e.Fatal(err)
	}
	sub := s.Add(stream.Request{Resource: client.Name(r)})
	var mu sync.Mutex
	node, out := map[string]string{}, []string(nil)
	go func() { _ = s.Run(ctx) }() // ends with ctx
	go func() {
		for {
			b, err := sub.Next(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			for _, ev := range b.Events {
				p, err := client.Decode[*corev1.Pod](r, ev.Object, false)
				if err != nil || ev.Type == pb.Event_DELETED || p.Spec.NodeName == "" {
					continue
				}
				if was := node[string(p.UID)]; was != "" && was != p.Spec.NodeName {
					out = append(out, fmt.Sprintf("%s: %s, then %s", p.Name, was, p.Spec.NodeName))
				}
				node[string(p.UID)] = p.Spec.NodeName
			}
			mu.Unlock()
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return out
	}
}

// F18: a scheduler killed while it binds, again and again, loses no pod,
// binds none twice and overfills no node.
func TestKilledWhileBinding(t *testing.T) {
	dir := t.TempDir()
	p, err := plant.Start(plant.Options{Bin: filepath.Dir(apiservertest.Binary("etcd")), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Stop() }()
	e := on(t, p)
	rebound := e.nodesOf(e.ctx)
	const nodes, pods, kills = 20, 600, 8
	for i := range nodes {
		e.node(fmt.Sprintf("n%02d", i), nil)
	}
	created := make(chan error, 1)
	go func() { created <- e.many(pods) }()
	for range kills {
		time.Sleep(150 * time.Millisecond) // amid the creations; any moment will do
		p.Scheduler.Kill()
		if err := p.StartScheduler(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	for _, pod := range e.all(pods) {
		on[pod.Spec.NodeName]++
	}
	for node, n := range on {
		if n > 40 {
			t.Errorf("node %s has %d pods of 100m on 4 CPUs", node, n)
		}
	}
	if r := rebound(); len(r) > 0 {
		t.Errorf("pods bound twice: %v", r)
	}
}

// on is a test's environment on a plant of its own.
func on(t *testing.T, p *plant.Plant) *env {
	t.Helper()
	c, err := p.Client()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(func() {
		cancel()
		_ = c.Close() // the test is over
	})
	e := &env{T: t, p: p, c: c, ctx: ctx}
	for _, ns := range []string{"t", "sched-0", "sched-1"} {
		must(e, namespace(ns))
	}
	return e
}

func (e *env) many(n int) error {
	to, err := e.p.NewCreator()
	if err != nil {
		return err
	}
	return to.All(e.ctx, "/api/v1/namespaces/t/pods", n, podNumber)
}

// F17: of two schedulers one leads; when it stops the other takes over.
func TestLeaderStops(t *testing.T) {
	dir := t.TempDir()
	election := []string{"--leader-elect=true", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms"}
	p, err := plant.Start(plant.Options{Bin: filepath.Dir(apiservertest.Binary("etcd")), Dir: dir, Scheduler: election})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Stop() }()
	e := on(t, p)
	e.node("n1", nil)
	e.pod("before")
	e.bound("before")
	second, err := p.AnotherScheduler(election...)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Kill()
	p.Scheduler.Kill()
	e.pod("after")
	e.bound("after")
	if second.Log() == "" {
		t.Error("the second scheduler has nothing to say")
	}
	e.elected(2)
}

// elected wants so many events that tell of a new leader.
func (e *env) elected(want int) {
	e.Helper()
	got := 0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		list, _, err := client.List[*corev1.Event](e.ctx, e.c, client.Selection{Namespace: "kube-system", Fields: "involvedObject.name=kube-scheduler,reason=LeaderElection"})
		if err != nil {
			e.Fatal(err)
		}
		got = 0
		for _, ev := range list {
			if ev.Source.Component == "default-scheduler" && strings.HasSuffix(ev.Message, " became leader") {
				got++
			}
		}
		if got == want {
			return
		}
	}
	e.Fatalf("%d events tell of a leader, want %d", got, want)
}

// Health, metrics and configuration are where operators look for them.
func TestEndpoints(t *testing.T) {
	e := setup(t)
	e.node("n1", nil)
	e.pod("one")
	e.bound("one")
	e.pod("two", cpu("9"))
	e.pending("two", "Unschedulable", "")
	for path, want := range map[string][]string{
		"/healthz": {"ok"}, "/livez?verbose": {"[+]ping ok"}, "/readyz?verbose": {"[+]sched-handler-sync ok"},
		"/configz": {"KubeSchedulerConfiguration", "packing", "MostAllocated"},
		"/metrics": {
			`scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"}`, "scheduler_pod_scheduling_sli_duration_seconds_bucket", `scheduler_pending_pods{queue="active"}`,
			"scheduler_queue_incoming_pods_total", "scheduler_scheduling_attempt_duration_seconds_bucket", "scheduler_scheduling_algorithm_duration_seconds_bucket", `scheduler_cache_size{type="nodes"}`,
			"scheduler_framework_extension_point_duration_seconds", "scheduler_unschedulable_pods", "scheduler_pod_scheduling_attempts_bucket",
			`scheduler_plugin_evaluation_total{extension_point="Filter",plugin="NodeResourcesFit",profile="default-scheduler"}`, "scheduler_plugin_execution_duration_seconds_bucket",
		},
		"/metrics/resources": {`kube_pod_resource_request{namespace="t",node="",pod="two",priority="0",resource="cpu",scheduler="default-scheduler",unit="cores"} 9`},
		"/statusz":           {"kube-scheduler statusz"},
	} {
		text, err := get(e.p.SchedulerURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !contains(text, w) {
				t.Errorf("%s lacks %q:\n%.1500s", path, w, text)
			}
		}
	}
}

func get(url string) (string, error) {
	resp, err := plant.Insecure.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = errors.New(resp.Status)
	}
	return string(text), err
}
