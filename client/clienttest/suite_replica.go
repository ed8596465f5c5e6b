package clienttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/stream"
)

var replicaTests = tests{
	"a replica follows":               testReplicaFollows,
	"indexes agree with the objects":  testReplicaIndexes,
	"projections keep what was named": testReplicaProjection,
	"reduced objects are followed":    testReplicaReduced,
	"own writes can be waited for":    testReplicaWaitFor,
	"64 replicas share a stream":      testReplicaMany,
	"a slow handler loses nothing":    testReplicaSlow,
}

var faultTests = tests{
	"a replica survives a restart":       testReplicaRestart,
	"a replica starts over when it must": testReplicaExpired,
	"unknown outcomes are not repeated":  testBatchRestart,
}

// follow runs replicas and their stream until the test ends.
func follow(t testing.TB, runs ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range runs {
		running.Go(func() { _ = run(ctx) }) // ends with the test
	}
	t.Cleanup(func() { cancel(); running.Wait() })
}

func newReplica(t testing.TB, c *client.Client, o cache.Options[*cm], handlers ...func(cache.Change[*cm])) (*cache.Replica[*cm], *stream.Stream) {
	t.Helper()
	s := stream.New(c, stream.Options{})
	r := must[*cache.Replica[*cm]](t)(cache.New(c, s, o))
	for _, h := range handlers {
		r.OnChange(h)
	}
	follow(t, s.Run, r.Run)
	return r, s
}

func contents(s *cache.Snapshot[*cm]) []string {
	var out []string
	for o := range s.All() {
		out = append(out, o.Namespace+"/"+o.Name+"="+o.Data["value"]+"@"+o.ResourceVersion)
	}
	return out
}

// listed is what a replica of the selection must come to hold.
func listed(t testing.TB, c *client.Client, s client.Selection) []string {
	t.Helper()
	items, _, err := client.List[*cm](testContext(t), c, s)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range items {
		out = append(out, o.Namespace+"/"+o.Name+"="+o.Data["value"]+"@"+o.ResourceVersion)
	}
	return out
}

func testReplicaFollows(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	fill(t, ctx, c, ns, 600)
	r, _ := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}})
	if err := r.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	before := r.Snapshot()
	if before.Len() != 600 {
		t.Fatalf("%d objects at the sync", before.Len())
	}
	for i, name := range names(600) {
		switch i % 3 {
		case 0:
			must[*cm](t)(client.Update(ctx, c, configMap(ns, name, "2")))
		case 1:
			if err := client.Delete[*cm](ctx, c, ns, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := listed(t, c, client.Selection{Namespace: ns})
	eventually(t, "the replica to equal the list", func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	if before.Len() != 600 || len(contents(before)) != 600 {
		t.Error("an old snapshot has changed")
	}
}

func testReplicaIndexes(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	byValue := &cache.Index[*cm]{Name: "value", Values: func(o *cm) []string { return []string{o.Data["value"], "all"} }}
	r, _ := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}, Indexes: []*cache.Index[*cm]{byValue}})
	for i, name := range names(40) {
		must[*cm](t)(client.Create(ctx, c, configMap(ns, name, fmt.Sprint(i%4))))
	}
	for _, name := range names(10) {
		must[*cm](t)(client.Update(ctx, c, configMap(ns, name, "9")))
	}
	want := listed(t, c, client.Selection{Namespace: ns})
	eventually(t, "the replica to equal the list", func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	s := r.Snapshot()
	counts := map[string]int{}
	for v := range s.Values(byValue) {
		for o := range s.By(byValue, v) {
			if v != "all" && o.Data["value"] != v {
				t.Errorf("%s is found by %s", o.Data["value"], v)
			}
			counts[v]++
		}
	}
	if counts["all"] != 40 || counts["9"] != 10 || counts["0"]+counts["1"]+counts["2"]+counts["3"] != 30 {
		t.Errorf("found %v", counts)
	}
	if n := len(slices.Collect(s.In(ns))); n != 40 {
		t.Errorf("%d in the namespace", n)
	}
	if n := len(slices.Collect(s.In("none"))); n != 0 {
		t.Errorf("%d in no namespace", n)
	}
}

func testReplicaProjection(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	p := pod(ns, "p")
	p.Spec.NodeName = "n1"
	must[*corev1.Pod](t)(client.Create(ctx, c, p))
	s := stream.New(c, stream.Options{})
	r := must[*cache.Replica[*corev1.Pod]](t)(cache.New(c, s, cache.Options[*corev1.Pod]{
		Selection: client.Selection{Namespace: ns}, Fields: []string{"spec.nodeName"},
	}))
	follow(t, s.Run, r.Run)
	if err := r.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Get(ns, "p"); !ok || got.Spec.NodeName != "n1" || got.ResourceVersion == "" {
		t.Errorf("got %v", got)
	}
}

// reduced is what a component keeps of a ConfigMap.
type reduced struct{ namespace, name, revision, value string }

func (r *reduced) GetNamespace() string       { return r.namespace }
func (r *reduced) GetName() string            { return r.name }
func (r *reduced) GetUID() types.UID          { return "" }
func (r *reduced) GetResourceVersion() string { return r.revision }

func testReplicaReduced(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	fill(t, ctx, c, ns, 300)
	byValue := &cache.Index[*reduced]{Name: "value", Values: func(r *reduced) []string { return []string{r.value} }}
	s := stream.New(c, stream.Options{})
	r := must[*cache.Replica[*reduced]](t)(cache.Reduce(c, s, func(o *cm) *reduced {
		return &reduced{o.Namespace, o.Name, o.ResourceVersion, o.Data["value"]}
	}, cache.Options[*reduced]{Selection: client.Selection{Namespace: ns}, Indexes: []*cache.Index[*reduced]{byValue}}))
	follow(t, s.Run, r.Run)
	all, _, err := client.List[*cm](ctx, c, client.Selection{Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	o := all[0].DeepCopy()
	o.Data = map[string]string{"value": "changed"}
	now, err := client.Update(ctx, c, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Delete[*cm](ctx, c, ns, all[1].Name, client.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has a change and a deletion", func() bool {
		got, ok := r.Get(ns, o.Name)
		_, gone := r.Get(ns, all[1].Name)
		return ok && got.value == "changed" && got.revision == now.ResourceVersion && !gone && r.Snapshot().Len() == len(all)-1
	})
	found := slices.Collect(r.Snapshot().By(byValue, "changed"))
	if len(found) != 1 || found[0].name != o.Name {
		t.Errorf("the index finds %v", found)
	}
}

func testReplicaWaitFor(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	r, _ := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}})
	for _, name := range names(20) {
		o := must[*cm](t)(client.Create(ctx, c, configMap(ns, name, "1")))
		if err := r.WaitFor(ctx, revisionOf(t, o)); err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Get(ns, name); !ok || got.ResourceVersion != o.ResourceVersion {
			t.Fatalf("%s is not there at revision %d", name, r.Snapshot().Revision())
		}
	}
}

func testReplicaMany(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	s := stream.New(c, stream.Options{})
	runs := []func(context.Context) error{s.Run}
	var replicas []*cache.Replica[*cm]
	for range 64 {
		r := must[*cache.Replica[*cm]](t)(cache.New(c, s, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}}))
		replicas = append(replicas, r)
		runs = append(runs, r.Run)
	}
	follow(t, runs...)
	for _, name := range names(100) {
		must[*cm](t)(client.Create(ctx, c, configMap(ns, name, "1")))
	}
	want := listed(t, c, client.Selection{Namespace: ns})
	for i, r := range replicas {
		eventually(t, fmt.Sprintf("replica %d to equal the list", i), func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	}
	if s.Connects() != 1 {
		t.Errorf("%d streams", s.Connects())
	}
}

func testReplicaSlow(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	var mu sync.Mutex
	seen := map[string]int{}
	r, s := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}}, func(ch cache.Change[*cm]) {
		time.Sleep(time.Millisecond)
		mu.Lock()
		seen[ch.Key.Name]++
		mu.Unlock()
	})
	if err := r.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	// Another replica on the same stream is held up and loses nothing either.
	other := must[*cache.Replica[*cm]](t)(cache.New(c, s, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}}))
	follow(t, other.Run)
	fill(t, ctx, c, ns, 1000)
	want := listed(t, c, client.Selection{Namespace: ns})
	for _, r := range []*cache.Replica[*cm]{r, other} {
		eventually(t, "the replicas to equal the list", func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	}
	eventually(t, "all to be heard of", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == 1000
	})
	mu.Lock()
	defer mu.Unlock()
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was heard of %d times", name, n)
		}
	}
}

// journal notes what handlers are told: revisions of an object must only grow.
type journal struct {
	t    testing.TB
	mu   sync.Mutex
	last map[string]int64 // guarded by mu
}

func (j *journal) note(ch cache.Change[*cm]) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !ch.HasNew {
		return
	}
	rev := revisionOf(j.t, ch.New)
	if last := j.last[ch.Key.Name]; rev <= last {
		j.t.Errorf("%s at revision %d was heard of after %d", ch.Key.Name, rev, last)
	}
	j.last[ch.Key.Name] = rev
}

func testReplicaRestart(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	fill(t, ctx, c, ns, 300)
	j := &journal{t: t, last: map[string]int64{}}
	r, s := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}}, j.note)
	if err := r.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() { scribble(ctx, c, ns, fmt.Sprint("round", round), stop) })
		time.Sleep(50 * time.Millisecond)
		e.Restart()
		time.Sleep(50 * time.Millisecond)
		close(stop)
		writer.Wait()
	}
	// The client of the test reconnects in its own time.
	eventually(t, "the server to answer", func() bool {
		_, err := client.Get[*cm](ctx, c, ns, "object-0000")
		return err == nil
	})
	want := listed(t, c, client.Selection{Namespace: ns})
	eventually(t, "the replica to equal the list", func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	if s.Connects() < 2 {
		t.Error("the stream did not break")
	}
}

// scribble updates objects until told to stop; errors are the servers being down.
func scribble(ctx context.Context, c *client.Client, ns, value string, stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		_, err := client.Update(ctx, c, configMap(ns, fmt.Sprintf("object-%04d", i%300), fmt.Sprint(value, "-", i)))
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func testReplicaExpired(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	fill(t, ctx, c, ns, 300)
	j := &journal{t: t, last: map[string]int64{}}
	var mu sync.Mutex
	gone := map[string]bool{}
	r, _ := newReplica(t, c, cache.Options[*cm]{Selection: client.Selection{Namespace: ns}}, j.note, func(ch cache.Change[*cm]) {
		mu.Lock()
		defer mu.Unlock()
		gone[ch.Key.Name] = !ch.HasNew
	})
	if err := r.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	kept, _ := r.Get(ns, "object-0200")
	// Readers never see fewer objects than there have been all the time.
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n := r.Snapshot().Len(); n < 290 {
				t.Errorf("a snapshot of %d objects", n)
				return
			}
		}
	})
	helper := e.Client(t)
	e.Stop()
	e.Start()
	eventually(t, "the server to answer", func() bool {
		_, err := client.Get[*cm](ctx, helper, ns, "object-0000")
		return err == nil
	})
	for _, name := range names(10) {
		if err := client.Delete[*cm](ctx, helper, ns, name); err != nil && !errors.Is(err, client.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
	}
	e.Compact()
	want := listed(t, helper, client.Selection{Namespace: ns})
	eventually(t, "the replica to equal the list", func() bool { return slices.Equal(contents(r.Snapshot()), want) })
	close(stop)
	reader.Wait()
	// A snapshot has a change before anybody is told of it.
	for _, name := range names(10) {
		eventually(t, "somebody to be told that "+name+" is gone", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return gone[name]
		})
	}
	if now, _ := r.Get(ns, "object-0200"); now != kept {
		t.Error("an object that did not change is not the same any more")
	}
}

func testBatchRestart(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	b := startBatch(t, c)
	const n = 2000
	var mu sync.Mutex
	var made, unknown, refused int
	var done sync.WaitGroup
	done.Add(n)
	go func() {
		time.Sleep(20 * time.Millisecond)
		e.Restart()
	}()
	for _, name := range names(n) {
		w := must[*client.Write](t)(client.CreateWrite(c, configMap(ns, name, "1"), client.WriteOptions{OmitObject: true}))
		err := b.Submit(ctx, w, func(r client.Result) {
			defer done.Done()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.Err == nil:
				made++
			case errors.Is(r.Err, client.ErrOutcomeUnknown):
				unknown++
			default:
				refused++
				t.Errorf("refused: %v", r.Err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	var there int
	eventually(t, "a list", func() bool {
		items, _, err := client.List[*cm](ctx, c, client.Selection{Namespace: ns})
		there = len(items)
		return err == nil
	})
	// Nothing that was reported made may be missing, nothing may be there
	// that was neither reported made nor in doubt.
	if there < made || there > made+unknown {
		t.Errorf("%d objects: %d made, %d in doubt", there, made, unknown)
	}
	t.Logf("%d made, %d in doubt, %d there", made, unknown, there)
}
