package flow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/request"
)

func write(user string, groups ...string) *request.Request {
	return &request.Request{Info: request.Info{Verb: "create"}, User: request.User{Name: user, Groups: groups}}
}

// Users take turns, and each one's requests keep their order.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(1, 1, nil)
		first, err := f.Enter(t.Context(), write("a"))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		for _, name := range []string{"a1", "a2", "a3", "b1", "c1", "c2", "a's lease"} {
			all.Go(func() {
				r := write(name[:1])
				if strings.HasSuffix(name, "lease") {
					r.Group, r.Resource = "coordination.k8s.io", "leases"
				}
				leave, err := f.Enter(t.Context(), r)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				time.Sleep(time.Second)
				leave()
			})
			synctest.Wait() // it waits in its line
		}
		if n := waiting(f.writes); f.Active() != 8 || n != 7 {
			t.Errorf("%d are active and %d wait", f.Active(), n)
		}
		// Reads have places of their own.
		read := write("a")
		read.Verb = "list"
		leave, err := f.Enter(t.Context(), read)
		if err != nil {
			t.Fatal(err)
		}
		leave()
		first()
		all.Wait()
		if got := strings.Join(order, " "); got != "a1 b1 c1 a's lease a2 c2 a3" {
			t.Errorf("served: %s", got)
		}
		idle(t, f.writes, 1)
	})
}

func waiting(p *places) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

// idle reports what is left of a time when nobody asks.
func idle(t *testing.T, p *places, n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free != n || p.waiting != 0 || len(p.lines) != 0 || len(p.turns) != 0 {
		t.Errorf("%d places of %d are free, %d requests wait in %d lines, %d turns", p.free, n, p.waiting, len(p.lines), len(p.turns))
	}
}

// A flood of one user's fills his line; others still have theirs, until too
// many wait. Who waits too long, or goes, is refused and leaves nothing.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(0, 2, nil)
		var held []func()
		for range 2 {
			leave, err := f.Enter(t.Context(), write("holder"))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, leave)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		refused := map[string]int{}
		ask := func(user string, n int) {
			for range n {
				go func() {
					leave, err := f.Enter(ctx, write(user))
					if err == nil {
						leave()
						return
					}
					if !apierrors.IsTooManyRequests(err) {
						t.Error(err)
					}
					mu.Lock()
					refused[user]++
					mu.Unlock()
				}()
			}
			synctest.Wait()
		}
		expect := func(want string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(refused, " ", waiting(f.writes)); got != want {
				t.Errorf("%s, expected %s", got, want)
			}
		}
		ask("greedy", 300)
		expect("map[greedy:50] 250")
		ask("b", 250)
		ask("c", 250)
		ask("d", 249)
		ask("e", 1)
		expect("map[greedy:50] 1000")
		ask("e", 1)
		expect("map[e:1 greedy:50] 1000")
		ask("f", 2) // the first of a line has a place to wait
		expect("map[e:1 f:1 greedy:50] 1001")
		master, err := f.Enter(ctx, write("admin", "system:masters"))
		if err != nil {
			t.Fatal(err)
		}
		master()
		expect("map[e:1 f:1 greedy:50] 1001") // he had no place, and gives none
		time.Sleep(maxWait + time.Second)
		synctest.Wait()
		expect("map[b:250 c:250 d:249 e:2 f:2 greedy:300] 0")
		ask("b", 3)
		cancel()
		synctest.Wait()
		expect("map[b:253 c:250 d:249 e:2 f:2 greedy:300] 0")
		for _, leave := range held {
			leave()
		}
		idle(t, f.writes, 2)
	})
}

// Whatever happens at once, no place is lost, and none is given twice.
func TestPlacesAreKept(t *testing.T) {
	const n, users, each = 3, 8, 200
	f := New(n, n, nil)
	var mu sync.Mutex
	inside, most := 0, 0
	var all sync.WaitGroup
	for u := range users {
		for range each {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if rand.N(3) == 0 {
					time.AfterFunc(rand.N(3*time.Millisecond), cancel)
				}
				leave, err := f.Enter(ctx, write(fmt.Sprint("user", u)))
				if err != nil {
					return // gone, or too many
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				time.Sleep(rand.N(100 * time.Microsecond))
				mu.Lock()
				inside--
				mu.Unlock()
				leave()
			})
		}
	}
	all.Wait()
	if most > n {
		t.Errorf("%d at once, in %d places", most, n)
	}
	idle(t, f.writes, n)
	if f.Active() != 0 {
		t.Errorf("%d are active", f.Active())
	}
}

func TestNoLimit(t *testing.T) {
	f := New(0, 0, nil)
	var leave []func()
	for range 1000 {
		l, err := f.Enter(t.Context(), write("a"))
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	slices.Reverse(leave)
	for _, l := range leave {
		l()
	}
}
