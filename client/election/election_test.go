package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// memory is one lease; down makes it unreachable for a candidate.
type memory struct {
	mu     sync.Mutex
	lease  *coordinationv1.Lease
	writes int
}

// view is a candidate's access to the lease.
type view struct {
	*memory
	mu   sync.Mutex
	down bool
}

func (v *view) set(down bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = down
}

var errDown = errors.New("the server is down")

func (v *view) reach() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down {
		return errDown
	}
	return nil
}

var resource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

func (v *view) Get(context.Context, string, string) (*coordinationv1.Lease, error) {
	if err := v.reach(); err != nil {
		return nil, err
	}
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	if v.lease == nil {
		return nil, apierrors.NewNotFound(resource, "l")
	}
	return v.lease.DeepCopy(), nil
}

func (v *view) Create(_ context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if err := v.reach(); err != nil {
		return nil, err
	}
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	if v.lease != nil {
		return nil, apierrors.NewAlreadyExists(resource, "l")
	}
	return v.put(l), nil
}

func (v *view) Update(_ context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if err := v.reach(); err != nil {
		return nil, err
	}
	v.memory.mu.Lock()
	defer v.memory.mu.Unlock()
	if v.lease == nil || v.lease.ResourceVersion != l.ResourceVersion {
		return nil, apierrors.NewConflict(resource, "l", errors.New("modified"))
	}
	return v.put(l), nil
}

func (v *view) put(l *coordinationv1.Lease) *coordinationv1.Lease {
	v.writes++
	v.lease = l.DeepCopy()
	v.lease.ResourceVersion = strconv.Itoa(v.writes)
	return v.lease.DeepCopy()
}

// spec is the lease's as of now.
func (m *memory) spec() coordinationv1.LeaseSpec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.lease.Spec.DeepCopy()
}

type candidate struct {
	view    *view
	cancel  context.CancelFunc
	done    chan error
	mu      sync.Mutex
	leading bool
	told    []string
}

func (c *candidate) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func (c *candidate) leads() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading
}

func stand(t *testing.T, m *memory, name string) *candidate {
	ctx, cancel := context.WithCancel(t.Context())
	c := &candidate{view: &view{memory: m}, cancel: cancel, done: make(chan error, 1)}
	e, err := New(c.view, Options{Namespace: "kube-system", Name: "l", Identity: name, Told: func(l *coordinationv1.Lease, message string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = append(c.told, *l.Spec.HolderIdentity+": "+message)
	}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.done <- e.Run(ctx, func(ctx context.Context) error {
			c.set(true)
			<-ctx.Done()
			c.set(false)
			return ctx.Err()
		})
	}()
	return c
}

func (c *candidate) set(leading bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading = leading
}

func TestOneLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		var all []*candidate
		for i := range 3 {
			all = append(all, stand(t, m, fmt.Sprint("c", i)))
		}
		for range 300 {
			time.Sleep(time.Second)
			n := 0
			for _, c := range all {
				if c.leads() {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("%d leaders", n)
			}
		}
		s := m.spec()
		if *s.LeaseDurationSeconds != 15 || *s.LeaseTransitions != 0 || s.AcquireTime == nil || s.RenewTime == nil {
			t.Errorf("lease %+v", s)
		}
		for _, c := range all {
			c.cancel()
		}
		for _, c := range all {
			if err := <-c.done; err != context.Canceled {
				t.Errorf("ended with %v", err)
			}
		}
		if s = m.spec(); *s.HolderIdentity != "" || *s.LeaseDurationSeconds != 1 {
			t.Errorf("not released: %+v", s)
		}
	})
}

func TestReleaseLetsTheNextLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := stand(t, m, "a")
		time.Sleep(time.Second)
		b := stand(t, m, "b")
		time.Sleep(time.Minute)
		if !a.leads() || b.leads() {
			t.Fatal("a does not lead")
		}
		a.cancel()
		<-a.done
		time.Sleep(DefaultRetryPeriod * 3)
		if !b.leads() {
			t.Error("b does not lead after a released the lease")
		}
		if s := m.spec(); *s.LeaseTransitions != 1 {
			t.Errorf("%d transitions", *s.LeaseTransitions)
		}
		b.cancel()
		<-b.done
	})
}

func TestALeaderCutOffStopsBeforeTheNextLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		a := stand(t, m, "a")
		time.Sleep(time.Second)
		b := stand(t, m, "b")
		time.Sleep(time.Minute)
		a.view.set(true)
		cut := time.Now()
		var stopped, taken time.Duration
		for taken == 0 {
			time.Sleep(100 * time.Millisecond)
			if stopped == 0 && !a.leads() {
				stopped = time.Since(cut)
			}
			if b.leads() {
				taken = time.Since(cut)
			}
			if time.Since(cut) > time.Minute {
				t.Fatal("nobody took over")
			}
		}
		if stopped == 0 || stopped > DefaultRenewDeadline+DefaultRetryPeriod+time.Second || taken < stopped {
			t.Errorf("a stopped after %s, b led after %s", stopped, taken)
		}
		if err := <-a.done; !errors.Is(err, ErrLost) {
			t.Errorf("a ended with %v", err)
		}
		b.cancel()
		<-b.done
		// Who ends of its own will says nothing.
		if x, y := a.heard(), b.heard(); !slices.Equal(x, []string{"a: a became leader", "a: a stopped leading"}) || !slices.Equal(y, []string{"b: b became leader"}) {
			t.Errorf("told by a: %q, by b: %q", x, y)
		}
	})
}

func TestADeadLeadersLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		holder, seconds := "client-go", int32(15)
		m.lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds}}
		began := time.Now()
		c := stand(t, m, "a")
		for !c.leads() {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(began); d < 15*time.Second || d > 21*time.Second {
			t.Errorf("took over after %s", d)
		}
		c.cancel()
		<-c.done
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{},
		{Namespace: "n", Name: "l", LeaseDuration: 5 * time.Second, RenewDeadline: 5 * time.Second},
		{Namespace: "n", Name: "l", RenewDeadline: 2 * time.Second, RetryPeriod: 2 * time.Second},
	} {
		if _, err := New(nil, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestRenewalsAreTold: whoever leads hears of each renewal, no later than the
// lease is renewed; whoever doesn't hears nothing.
func TestRenewalsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		var mu sync.Mutex
		told := map[string]time.Time{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for _, name := range []string{"a", "b"} {
			v := &view{memory: m}
			e, err := New(v, Options{Namespace: "kube-system", Name: "l", Identity: name, Renewed: func(at time.Time) {
				mu.Lock()
				defer mu.Unlock()
				told[name] = at
			}})
			if err != nil {
				t.Fatal(err)
			}
			go func() { done <- e.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }) }()
			time.Sleep(time.Minute)
		}
		mu.Lock()
		if age := time.Since(told["a"]); age > DefaultRenewDeadline/2 || len(told) != 1 {
			t.Errorf("the leader heard %s ago; told: %v", age, told)
		}
		mu.Unlock()
		cancel()
		<-done
		<-done
	})
}
