package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/etcdproxy"
	"xebec.dev/test/chaos/history"
)

// TestKillServer is F01: the server, with its etcd inside, is killed again
// and again amid the writes of 64 clients. What was acknowledged is there,
// and all histories are linearizable.
func TestKillServer(t *testing.T) {
	const writers, keys = 64, 48
	s := apiservertest.Start(t)
	prepare(t, s)
	rec, rnd := history.NewRecorder(), seeded(t)
	doors := []door{restDoor(t, s), rpcDoor(t, s), restDoor(t, s)}
	begin := list(t, rec, doors[0])
	stop := make(chan struct{})
	wait := traffic(t.Context(), rec, rnd, writers, keys, doors, stop)
	var slowest time.Duration
	for range rounds(4) {
		time.Sleep(300*time.Millisecond + time.Duration(rnd.Intn(700))*time.Millisecond)
		s.Kill()
		began := time.Now()
		s.Run(t)
		slowest = max(slowest, time.Since(began))
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wait()
	t.Logf("ready again after at most %v", slowest)
	if slowest > 10*time.Second {
		t.Errorf("ready again only after %v", slowest)
	}
	settle(t, rec, doors[0], keys)
	// The whole story, from the server's last life, fits what clients know.
	finish(t, rec, doors[0])
	f := followed(t, &follower{name: "all", door: doors[1]}, begin.Revision)
	truth := f.merged()
	truth.Start = begin.Items
	for _, err := range []error{history.Witnessed(truth, rec.Ops()), history.Replayed(truth, rec.Ops()), history.Fitting(truth)} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestReplyLost is F02: etcd commits and the answer is lost. Clients never
// hear a false success or refusal: a create that happened is told as unknown
// or as done, and found when it is repeated.
func TestReplyLost(t *testing.T) {
	e := startEtcd(t)
	p := etcdproxy.Start(t, e.host)
	s := over(t, p.URL)
	prepare(t, s)
	rec := history.NewRecorder()
	for _, d := range []door{restDoor(t, s), rpcDoor(t, s)} {
		w := newWriter(rec, 1, 1)
		key := fmt.Sprintf("k%02d", w.id%100)
		create := lose(t, p, w, d, func(n int) history.Op {
			return history.Op{Verb: history.Create, Key: fmt.Sprintf("%s-%d", key, n), Value: fmt.Sprintf("%s-%d", key, n)}
		})
		again := create
		again.Value += "9"
		if again = w.op(t.Context(), d, again); again.Outcome != history.Exists {
			t.Errorf("created again: %v", again)
		}
		got := w.op(t.Context(), d, history.Op{Verb: history.Get, Key: create.Key})
		if got.Value != create.Value {
			t.Errorf("wrote %v, read %v", create, got)
		}
		update := lose(t, p, w, d, func(n int) history.Op {
			now := w.op(t.Context(), d, history.Op{Verb: history.Get, Key: create.Key})
			return history.Op{Verb: history.Update, Key: create.Key, Value: fmt.Sprintf("%s-u%d", key, n), Expect: now.Value, Base: now.Revision}
		})
		if got = w.op(t.Context(), d, history.Op{Verb: history.Get, Key: create.Key}); got.Value != update.Value {
			t.Errorf("wrote %v, read %v", update, got)
		}
	}
	doors := []door{restDoor(t, s), rpcDoor(t, s)}
	stop := make(chan struct{})
	wait := traffic(t.Context(), rec, seeded(t), 24, 12, doors, stop)
	for range rounds(10) {
		select {
		case <-p.LoseReply(15):
		case <-time.After(5 * time.Second):
			t.Error("no transaction's reply was lost")
		}
	}
	close(stop)
	wait()
	settle(t, rec, doors[0], 12)
	if history.Count(rec.Ops(), history.Create, history.Unknown)+history.Count(rec.Ops(), history.Update, history.Unknown) == 0 {
		t.Log("the server found out the outcome of every write")
	}
}

// lose repeats operations until the reply to one of them is lost, and gives
// that one.
func lose(t *testing.T, p *etcdproxy.Proxy, w *writer, d door, next func(n int) history.Op) history.Op {
	t.Helper()
	for n := range 50 {
		o := next(n)
		lost := p.LoseReply(1)
		o = w.op(t.Context(), d, o)
		select {
		case <-lost:
			if o.Outcome != history.Done && o.Outcome != history.Unknown {
				t.Errorf("a write that etcd committed is told as: %v", o)
			}
			return o
		default:
			t.Errorf("%v without a transaction", o)
		}
	}
	t.Fatal("no reply was lost")
	return history.Op{}
}

// TestKillEtcd is F07 with one member: etcd is killed and started again; the
// server, not ready meanwhile, goes on by itself, and watches lose nothing.
func TestKillEtcd(t *testing.T) {
	e := startEtcd(t)
	s := over(t, "http://"+e.host)
	prepare(t, s)
	etcdFault(t, s, rounds(2), func() time.Duration {
		e.kill()
		probe := s.Client(t)
		eventually(t, 5*time.Second, "not ready without etcd", func() bool { return !isReady(t, probe, s) })
		e.start(t)
		e.ready(t)
		return eventually(t, 10*time.Second, "ready again", func() bool { return isReady(t, probe, s) })
	})
}

// TestKillEtcdLeader is F07 with three members: the leader is killed.
func TestKillEtcdLeader(t *testing.T) {
	members := startMembers(t, 3)
	urls := ""
	for _, m := range members {
		urls += ",http://" + m.host
	}
	s := over(t, urls[1:])
	prepare(t, s)
	etcdFault(t, s, rounds(1), func() time.Duration {
		for _, m := range members {
			if !m.leads(t) {
				continue
			}
			m.kill()
			d, w := restDoor(t, s), newWriter(history.NewRecorder(), 1, 1)
			gap := eventually(t, 20*time.Second, "a write after the leader's death", func() bool {
				w.n++
				o := w.op(t.Context(), d, history.Op{Verb: history.Create, Key: fmt.Sprintf("x%d-%d", w.id, w.n), Value: "probe1"})
				if o.Outcome != history.Done {
					return false
				}
				// It is not part of the history.
				w.op(t.Context(), d, history.Op{Verb: history.Delete, Key: o.Key})
				return true
			})
			m.start(t)
			m.ready(t)
			return gap
		}
		t.Fatal("no leader")
		return 0
	})
}

// etcdFault runs clients and watchers while a fault happens to etcd.
func etcdFault(t *testing.T, s *apiservertest.Server, n int, fault func() time.Duration) {
	t.Helper()
	const keys = 24
	rec := history.NewRecorder()
	doors := []door{restDoor(t, s), rpcDoor(t, s)}
	begin := list(t, rec, doors[0])
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	followers := []*follower{{name: "gRPC", door: doors[1]}, {name: "REST", door: doors[0]}}
	var watching sync.WaitGroup
	for _, f := range followers {
		watching.Go(func() { f.run(ctx, begin.Revision) })
	}
	stop := make(chan struct{})
	wait := traffic(ctx, rec, seeded(t), 24, keys, doors, stop)
	for range n {
		time.Sleep(400 * time.Millisecond)
		t.Logf("served again after %v", fault())
	}
	time.Sleep(400 * time.Millisecond)
	close(stop)
	wait()
	settle(t, rec, doors[0], keys)
	finish(t, rec, doors[0])
	watching.Wait()
	truth := followers[0].merged()
	truth.Start = begin.Items
	for _, err := range []error{history.Fitting(truth), followers[0].check(truth.Events), followers[1].check(truth.Events)} {
		if err != nil {
			t.Error(err)
		}
	}
}
