package workqueue

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func get(t *testing.T, q *Queue[string]) string {
	t.Helper()
	k, ok := q.Get(t.Context())
	if !ok {
		t.Fatal("the queue has ended")
	}
	return k
}

func TestAKeyIsWithOneWorkerAtMost(t *testing.T) {
	q := New("test", Options[string]{})
	q.Add("a")
	q.Add("a")
	if q.Len() != 1 {
		t.Fatalf("%d keys wait, want 1", q.Len())
	}
	get(t, q)
	q.Add("a")
	if q.Len() != 0 {
		t.Fatal("a key being worked on waits for another worker")
	}
	q.Done("a")
	if q.Len() != 1 {
		t.Fatal("a key added while being worked on did not come again")
	}
	get(t, q)
	q.Done("a")
	if q.Len() != 0 {
		t.Fatal("a key came once too often")
	}
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New("test", Options[string]{})
		began := time.Now()
		q.AddAfter("late", time.Minute)
		q.AddAfter("early", time.Second)
		q.AddAfter("late", 2*time.Second)   // earlier: counts
		q.AddAfter("early", 10*time.Second) // later: does not
		for _, want := range []struct {
			key string
			at  time.Duration
		}{{"early", time.Second}, {"late", 2 * time.Second}} {
			if k := get(t, q); k != want.key || time.Since(began) != want.at {
				t.Errorf("got %s after %s, want %s after %s", k, time.Since(began), want.key, want.at)
			}
			q.Done(want.key)
		}
		time.Sleep(time.Hour)
		if q.Len() != 0 {
			t.Error("a key came twice")
		}
		q.ShutDown()
	})
}

func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New("test", Options[string]{BaseDelay: time.Second, MaxDelay: 5 * time.Second})
		var pauses []time.Duration
		for range 5 {
			began := time.Now()
			q.AddRateLimited("a")
			get(t, q)
			pauses = append(pauses, time.Since(began))
			q.Done("a")
		}
		if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}; !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		if q.Failures("a") != 5 {
			t.Errorf("%d failures", q.Failures("a"))
		}
		q.Forget("a")
		began := time.Now()
		q.AddRateLimited("a")
		get(t, q)
		if d := time.Since(began); d != time.Second {
			t.Errorf("a pause of %s after Forget", d)
		}
	})
	q := New("test", Options[string]{})
	if d := q.pause(1000); d != DefaultMaxDelay {
		t.Errorf("a thousand failures: %s", d)
	}
}

func TestFlowsTakeTurns(t *testing.T) {
	q := New("test", Options[string]{Flow: func(k string) string { return k[:1] }})
	for _, k := range []string{"a1", "a2", "a3", "b1", "c1", "b2"} {
		q.Add(k)
	}
	var got []string
	for range 6 {
		k := get(t, q)
		got = append(got, k)
		q.Done(k)
	}
	if want := []string{"a1", "b1", "c1", "a2", "b2", "a3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestShutDownWithDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New("test", Options[string]{})
		for _, k := range []string{"a", "b", "c"} {
			q.Add(k)
		}
		q.AddAfter("never", time.Minute)
		var mu sync.Mutex
		var done []string
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				for {
					k, ok := q.Get(context.Background())
					if !ok {
						return
					}
					time.Sleep(time.Second)
					mu.Lock()
					done = append(done, k)
					mu.Unlock()
					q.Done(k)
				}
			})
		}
		synctest.Wait()
		q.Add("a") // is being worked on: comes again
		if err := q.ShutDownWithDrain(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.Add("late")
		workers.Wait()
		slices.Sort(done)
		if want := []string{"a", "a", "b", "c"}; !slices.Equal(done, want) {
			t.Errorf("worked on %v, want %v", done, want)
		}
	})
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New("test", Options[string]{})
		q.Add("a")
		get(t, q)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.ShutDownWithDrain(ctx); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
	})
}

func TestManyWorkersLoseNothing(t *testing.T) {
	q := New("test", Options[int]{Metrics: NewMetrics()})
	var mu sync.Mutex
	counts := map[int]int{}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				k, ok := q.Get(context.Background())
				if !ok {
					return
				}
				mu.Lock()
				counts[k]++
				mu.Unlock()
				q.Done(k)
			}
		})
	}
	for i := range 10000 {
		q.Add(i)
	}
	if err := q.ShutDownWithDrain(t.Context()); err != nil {
		t.Fatal(err)
	}
	workers.Wait()
	if len(counts) != 10000 {
		t.Errorf("%d keys were worked on, want 10000", len(counts))
	}
}

func TestMetricsHaveKubernetesNames(t *testing.T) {
	m := NewMetrics()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	q := New("replicaset", Options[string]{Metrics: m})
	q.Add("a")
	get(t, q)
	q.Add("b")
	want := `
# HELP workqueue_adds_total Total number of adds handled by workqueue
# TYPE workqueue_adds_total counter
workqueue_adds_total{name="replicaset"} 2
# HELP workqueue_depth Current depth of workqueue by workqueue
# TYPE workqueue_depth gauge
workqueue_depth{name="replicaset"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "workqueue_adds_total", "workqueue_depth"); err != nil {
		t.Error(err)
	}
	n, err := testutil.GatherAndCount(reg, "workqueue_unfinished_work_seconds", "workqueue_longest_running_processor_seconds", "workqueue_queue_duration_seconds")
	if err != nil || n != 3 {
		t.Errorf("%d series, %v", n, err)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := New("bench", Options[int]{})
	for i := 0; b.Loop(); i++ {
		q.Add(i)
		k, _ := q.Get(b.Context())
		q.Done(k)
	}
}
