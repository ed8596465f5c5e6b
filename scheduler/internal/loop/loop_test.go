package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/queue"
	"xebec.dev/scheduler/workload"
)

// server is an API server for a loop under test: it notes what is written and
// answers as told.
type server struct {
	mu     sync.Mutex
	binds  []string // guarded by mu: at second, pod, node
	status []string // guarded by mu
	// deleted pods; guarded by mu
	deleted []string
	// answer of bindings; nil is success. Fixed before use.
	answer func(p *corev1.Pod, attempt int) error
	tries  map[string]int // guarded by mu
	hold   chan struct{}  // status patches wait for it, if set
	began  time.Time
}

func (s *server) Bind(p *corev1.Pod, node string, done func(error)) {
	s.mu.Lock()
	s.tries[p.Name]++
	n := s.tries[p.Name]
	s.binds = append(s.binds, fmt.Sprintf("%ds %s to %s", int(time.Since(s.began).Seconds()), p.Name, node))
	s.mu.Unlock()
	go func() {
		var err error
		if s.answer != nil {
			err = s.answer(p, n)
		}
		done(err)
	}()
}

func (s *server) PatchStatus(p *corev1.Pod, patch []byte, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, message, _ := strings.Cut(string(patch), `"message":"`)
	message, _, _ = strings.Cut(message, `"`)
	s.status = append(s.status, p.Name+": "+message)
	go func() {
		if s.hold != nil {
			<-s.hold
		}
		done(nil)
	}()
}

func (s *server) Delete(p *corev1.Pod, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = append(s.deleted, p.Name)
	go done(nil)
}

func (s *server) Record(*corev1.Pod, string, string, string, string, string) {}

func (s *server) bindings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.binds)
}

// start runs a loop that leads, in a bubble, until the test ends.
func start(t *testing.T, s *server, o Options) *Loop {
	t.Helper()
	cfg, err := config.Load("")
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := config.Profiles(cfg, config.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s.tries, s.began = map[string]int{}, time.Now()
	l := New(cache.New(), profiles, s, s, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.Run(ctx) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	l.Lead(true)
	return l
}

func (l *Loop) addNode(name string) {
	l.Post(func() { l.NodeChanged(feed.Change[*corev1.Node]{New: workload.Node(name, nil)}) })
}

func (l *Loop) addPod(p *corev1.Pod) {
	l.Post(func() { l.PodChanged(feed.Change[*corev1.Pod]{New: p}) })
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A binding that is refused is tried again after 1, 2, 4… seconds, and the
// room it took is there for others meanwhile.
func TestRefusedBindingsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(_ *corev1.Pod, attempt int) error {
			if attempt < 5 {
				return errors.New("no")
			}
			return nil
		}}
		l := start(t, s, Options{})
		l.addNode("n")
		l.addPod(workload.Pod("t", "p"))
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, s.bindings(), "0s p to n", "1s p to n", "3s p to n", "7s p to n", "15s p to n")
	})
}

// A binding whose outcome is not known is not repeated until the API server
// says that it did not happen; the pod stays assumed so long.
func TestUnknownOutcome(t *testing.T) {
	for _, happened := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{answer: func(_ *corev1.Pod, attempt int) error {
				if attempt == 1 {
					return fmt.Errorf("%w: the connection broke", client.ErrOutcomeUnknown)
				}
				return nil
			}}
			p := workload.Pod("t", "p")
			lookups := 0
			l := start(t, s, Options{Lookup: func(context.Context, string, string) (*corev1.Pod, error) {
				if lookups++; lookups < 4 {
					return nil, errors.New("still down")
				}
				now := p.DeepCopy()
				if happened {
					now.Spec.NodeName = "n"
				}
				return now, nil
			}})
			l.addNode("n")
			l.addPod(p)
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			l.sync(func() {
				if len(l.assumed) != 1 {
					t.Error("the pod is not assumed while nobody knows")
				}
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			if happened {
				expect(t, s.bindings(), "0s p to n")
			} else {
				expect(t, s.bindings(), "0s p to n", "1s p to n")
			}
		})
	}
}

// sync runs f on the loop and waits for it.
func (l *Loop) sync(f func()) {
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	<-done
}

// Nothing is bound once leadership is gone, until it is back.
func TestLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		l := start(t, s, Options{})
		l.addNode("n")
		l.addPod(workload.Pod("t", "one"))
		synctest.Wait()
		l.LeadNoMore()
		l.addPod(workload.Pod("t", "two"))
		time.Sleep(time.Hour)
		expect(t, s.bindings(), "0s one to n")
		l.Lead(true)
		synctest.Wait()
		expect(t, s.bindings(), "0s one to n", "3600s two to n")
	})
}

// One status patch of a pod is under way at a time, the newest wish wins, and
// what is known already is not written.
func TestStatusIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{hold: make(chan struct{})}
		l := start(t, s, Options{Queue: queue.Options{InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond}})
		l.addPod(workload.Pod("t", "p", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b"} }))
		synctest.Wait()
		for i := range 5 {
			l.addNode(fmt.Sprintf("n%d", i))
			synctest.Wait()
			l.Post(func() { l.Queue.Wake("test", l.now()) })
			time.Sleep(time.Second)
		}
		synctest.Wait()
		s.mu.Lock()
		expect(t, s.status, "p: no nodes available to schedule pods")
		s.mu.Unlock()
		close(s.hold)
		synctest.Wait()
		l.Post(func() { l.Queue.Wake("test", l.now()) })
		time.Sleep(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		expect(t, s.status, "p: no nodes available to schedule pods", "p: 0/5 nodes are available: 5 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.")
	})
}

// A pod that goes while it is being bound leaves nothing behind.
func TestDeletedWhileBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		s := &server{answer: func(*corev1.Pod, int) error { <-proceed; return errors.New("not found") }}
		l := start(t, s, Options{})
		l.addNode("n")
		p := workload.Pod("t", "p")
		l.addPod(p)
		synctest.Wait()
		l.Post(func() { l.PodChanged(feed.Change[*corev1.Pod]{Old: p}) })
		synctest.Wait()
		close(proceed)
		time.Sleep(time.Minute)
		l.sync(func() {
			if n := l.Cluster.PlacedLen(); n != 0 || len(l.assumed) != 0 || l.Queue.Get(p.UID) != nil {
				t.Errorf("left: %d placed, %d assumed, entry %v", n, len(l.assumed), l.Queue.Get(p.UID))
			}
		})
		expect(t, s.bindings(), "0s p to n")
	})
}

// No more bindings are under way than allowed.
func TestBindingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		s := &server{answer: func(*corev1.Pod, int) error { <-proceed; return nil }}
		l := start(t, s, Options{MaxBindings: 3})
		l.addNode("n")
		for i := range 10 {
			l.addPod(workload.Pod("t", fmt.Sprintf("p%d", i)))
		}
		synctest.Wait()
		bounded(t, s, proceed)
	})
}

// bounded looks for three of ten bindings, and for all once they may proceed.
func bounded(t *testing.T, s *server, proceed chan struct{}) {
	t.Helper()
	if n := len(s.bindings()); n != 3 {
		t.Errorf("%d bindings under way, want 3", n)
	}
	close(proceed)
	synctest.Wait()
	if n := len(s.bindings()); n != 10 {
		t.Errorf("%d bindings, want 10", n)
	}
}

// Bindings that wait for a status to be written count: they are sent at once
// when that has ended.
func TestWaitingBindingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		s := &server{hold: make(chan struct{}), answer: func(*corev1.Pod, int) error { <-proceed; return nil }}
		l := start(t, s, Options{MaxBindings: 3})
		for i := range 10 {
			l.addPod(workload.Pod("t", fmt.Sprintf("p%d", i)))
		}
		synctest.Wait()
		l.addNode("n")
		time.Sleep(2 * time.Second)
		close(s.hold)
		synctest.Wait()
		bounded(t, s, proceed)
	})
}

// cycle is a plugin of the extension points between decision and binding.
type cycle struct {
	mu   sync.Mutex
	said []string // guarded by mu
	// reserve, permit and preBind are the verdicts.
	reserve, permit, preBind *framework.Status
}

func (*cycle) Name() string { return "cycle" }
func (c *cycle) say(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, what)
}
func (c *cycle) Reserve(*framework.Attempt) *framework.Status { c.say("reserve"); return c.reserve }
func (c *cycle) Unreserve(*framework.Attempt)                 { c.say("unreserve") }
func (c *cycle) Permit(*framework.Attempt) (*framework.Status, time.Duration) {
	c.say("permit")
	return c.permit, 10 * time.Second
}
func (c *cycle) PreBindPreFlight(*framework.Attempt) *framework.Status { return nil }
func (c *cycle) PreBind(context.Context, *framework.Attempt) *framework.Status {
	c.say("prebind")
	return c.preBind
}
func (c *cycle) PostBind(*framework.Attempt) { c.say("postbind") }

func TestExtensionPoints(t *testing.T) {
	no := framework.NewStatus("cycle", framework.Unschedulable, "no")
	for _, tt := range []struct {
		name  string
		c     *cycle
		want  []string
		state queue.State
		bound bool
	}{
		{"all pass", &cycle{}, []string{"reserve", "permit", "prebind", "postbind"}, 0, true},
		{"reserve", &cycle{reserve: no}, []string{"reserve", "unreserve"}, queue.Unschedulable, false},
		{"permit", &cycle{permit: no}, []string{"reserve", "permit", "unreserve"}, queue.Unschedulable, false},
		{"wait in vain", &cycle{permit: framework.NewStatus("cycle", framework.Wait)}, []string{"reserve", "permit", "unreserve"}, queue.Unschedulable, false},
		{"prebind", &cycle{preBind: framework.Errorf("cycle", "broken")}, []string{"reserve", "permit", "prebind", "unreserve"}, queue.Backoff, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := &server{}, tt.c
				l := start(t, s, Options{Queue: queue.Options{InitialBackoff: time.Hour, MaxBackoff: time.Hour}})
				l.Post(func() {
					p := l.profiles[corev1.DefaultSchedulerName]
					p.Reserve, p.Permit, p.PreBind, p.PostBind = []framework.Reserver{c}, []framework.Permitter{c}, []framework.PreBinder{c}, []framework.PostBinder{c}
				})
				l.addNode("n")
				p := workload.Pod("t", "p")
				l.addPod(p)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				expect(t, c.said, tt.want...)
				if got := len(s.bindings()) == 1; got != tt.bound {
					t.Errorf("bound: %v", got)
				}
				l.sync(func() {
					if e := l.Queue.Get(p.UID); !tt.bound && (e == nil || e.State() != tt.state) {
						t.Errorf("entry %+v, want %s", e, tt.state)
					}
					if !tt.bound && l.Cluster.PlacedLen() != 0 {
						t.Error("the pod still has its place")
					}
				})
			})
		})
	}
}

// A pod is bound once no write is under way that says that it waits: that one
// must not come last. One that goes meanwhile leaves nothing behind.
func TestBindingFollowsStatus(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{hold: make(chan struct{})}
			if gone {
				s.answer = func(*corev1.Pod, int) error { return errors.New("not found") }
			}
			l := start(t, s, Options{})
			p := workload.Pod("t", "p")
			l.addPod(p)
			synctest.Wait()
			l.addNode("n")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			expect(t, s.bindings())
			if gone {
				l.Post(func() { l.PodChanged(feed.Change[*corev1.Pod]{Old: p}) })
				synctest.Wait()
			}
			close(s.hold)
			synctest.Wait()
			expect(t, s.bindings(), "2s p to n")
			l.Post(func() {
				if l.bindings != 0 || len(l.status) != 0 || gone && (len(l.assumed) != 0 || l.Cluster.PlacedLen() != 0) {
					t.Errorf("left behind: %d bindings, %d statuses, %d assumed, %d placed", l.bindings, len(l.status), len(l.assumed), l.Cluster.PlacedLen())
				}
			})
			synctest.Wait()
		})
	}
}
