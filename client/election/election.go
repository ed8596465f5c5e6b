// Package election elects one leader among the replicas of a component, by a
// Lease that the leader renews. It keeps to the fields and rules of
// Kubernetes' clients, so that both can stand for the same lease.
//
// Clocks are not compared: a candidate takes over when it has seen the lease
// unchanged for its whole duration by its own clock.
package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

// Leases is where the lease is kept.
type Leases interface {
	Get(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error)
	Create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
	Update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
}

// Over keeps leases with an API server.
func Over(c *client.Client) Leases { return remote{c} }

type remote struct{ c *client.Client }

func (r remote) Get(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error) {
	return client.Get[*coordinationv1.Lease](ctx, r.c, namespace, name)
}

func (r remote) Create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return client.Create(ctx, r.c, l)
}

func (r remote) Update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return client.Update(ctx, r.c, l)
}

// Options of an election. Zero durations are Kubernetes' defaults.
type Options struct {
	Namespace, Name string
	// Identity is HOSTNAME_UUID by default.
	Identity string
	// LeaseDuration is how long others wait since they last saw a renewal.
	LeaseDuration time.Duration
	// RenewDeadline is how long a leader tries to renew before it gives up,
	// from RetryPeriod after the last renewal. A leader renews twice as often.
	RenewDeadline time.Duration
	// RetryPeriod is the pause between attempts of those who do not lead, and
	// of a leader who could not renew.
	RetryPeriod time.Duration
	// KeepOnStop leaves the lease to run out instead of releasing it.
	KeepOnStop bool
	// Renewed is told when the lease was taken, and at each renewal since, the
	// time before the attempt: until RenewDeadline after it nobody else leads.
	// Who writes can ask itself whether that has passed.
	Renewed func(at time.Time)
	// Observed is told of each new leader.
	Observed func(identity string)
	// Told is told of what an event about the lease should say: that the
	// elector became the leader, or stopped leading against its will.
	Told    func(l *coordinationv1.Lease, message string)
	Metrics *Metrics
	Log     *zap.Logger
}

// Kubernetes' defaults.
const (
	DefaultLeaseDuration = 15 * time.Second
	DefaultRenewDeadline = 10 * time.Second
	DefaultRetryPeriod   = 2 * time.Second
	// jitter stretches a candidate's pauses by up to this factor more.
	jitter = 1.2
)

// ErrLost is how Run ends when leadership was lost.
var ErrLost = errors.New("leadership was lost")

// Elector stands for a lease.
type Elector struct {
	leases Leases
	o      Options

	// Owned by Run.
	observed   *coordinationv1.Lease // as last seen; nil before
	observedAt time.Time             // when its spec last changed, by our clock
	leader     string                // as last reported
}

// New checks the options. Nothing happens before Run.
func New(l Leases, o Options) (*Elector, error) {
	setDefault(&o.LeaseDuration, DefaultLeaseDuration)
	setDefault(&o.RenewDeadline, DefaultRenewDeadline)
	setDefault(&o.RetryPeriod, DefaultRetryPeriod)
	switch {
	case o.Name == "" || o.Namespace == "":
		return nil, errors.New("leader election needs the namespace and name of a lease")
	case o.LeaseDuration <= o.RenewDeadline:
		return nil, errors.New("leaseDuration must be greater than renewDeadline")
	case o.RenewDeadline <= time.Duration(jitter*float64(o.RetryPeriod)):
		return nil, errors.New("renewDeadline must be greater than retryPeriod*JitterFactor")
	case o.LeaseDuration < time.Second:
		return nil, errors.New("leaseDuration must be at least one second")
	}
	if o.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("leader election identity: %w", err)
		}
		o.Identity = host + "_" + uuid.NewString()
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Elector{leases: l, o: o}, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Identity is who the elector stands as.
func (e *Elector) Identity() string { return e.o.Identity }

// Run waits to become the leader, then runs lead until it returns, ctx ends
// or leadership is lost; its context ends with leadership, and Run waits for
// it before it releases the lease. The error is lead's, ctx's or ErrLost.
func (e *Elector) Run(ctx context.Context, lead func(ctx context.Context) error) error {
	e.o.Metrics.set(e.o.Name, false)
	if err := e.acquire(ctx); err != nil {
		return err
	}
	e.o.Log.Info("became leader", zap.String("lease", e.o.Namespace+"/"+e.o.Name), zap.String("identity", e.o.Identity))
	e.tell(e.observed, "became leader")
	e.o.Metrics.set(e.o.Name, true)
	lease := e.observed // renewing takes the field over
	defer e.o.Metrics.set(e.o.Name, false)
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()
	lost := make(chan error, 1)
	renewing, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRenewing()
	go func() { lost <- e.renew(renewing) }()
	select {
	case err := <-done:
		stopRenewing()
		<-lost
		e.release()
		return err
	case <-lost:
		// Others may lead from now on: nothing is released.
		stop()
		e.tell(lease, "stopped leading")
		e.o.Log.Error("leadership was lost", zap.String("lease", e.o.Namespace+"/"+e.o.Name))
		<-done
		return ErrLost
	}
}

func (e *Elector) tell(l *coordinationv1.Lease, what string) {
	if e.o.Told != nil {
		e.o.Told(l, e.o.Identity+" "+what)
	}
}

// acquire tries until it holds the lease.
func (e *Elector) acquire(ctx context.Context) error {
	for {
		bounded, cancel := context.WithTimeout(ctx, e.o.RenewDeadline)
		began := time.Now()
		held, err := e.try(bounded)
		cancel()
		if held {
			e.renewed(began)
			return nil
		}
		contended := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
		if err != nil && !contended && ctx.Err() == nil {
			e.o.Log.Warn("could not try for the lease", zap.String("lease", e.o.Namespace+"/"+e.o.Name), zap.Error(err))
		}
		pause := e.o.RetryPeriod + time.Duration(rand.Float64()*jitter*float64(e.o.RetryPeriod))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// renew keeps the lease until it can't within the deadline, or ctx ends.
func (e *Elector) renew(ctx context.Context) error {
	renewed, pause := time.Now(), e.untilRenewal(time.Now())
	for {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		deadline, cancel := context.WithDeadline(ctx, renewed.Add(e.patience()))
		began := time.Now()
		held, err := e.try(deadline)
		cancel()
		switch {
		case held:
			renewed, pause = began, e.untilRenewal(time.Now())
			e.renewed(began)
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return ErrLost // somebody else has it
		default:
			e.o.Log.Warn("could not renew the lease", zap.String("lease", e.o.Namespace+"/"+e.o.Name), zap.Error(err))
			if time.Since(renewed) >= e.patience() {
				return ErrLost
			}
			pause = e.o.RetryPeriod
		}
	}
}

// renewEvery is the pause after a renewal. Kubernetes' clients renew every
// RetryPeriod; each renewal is a write that wakes the API server, etcd and all
// who watch leases, and half the deadline leaves time for several attempts.
func (e *Elector) renewEvery() time.Duration { return max(e.o.RetryPeriod, e.o.RenewDeadline/2) }

// untilRenewal is the pause before the next renewal: up to the next whole
// multiple of renewEvery by the clock. The few leaders of a cluster renew at
// the same moment so, and an idle machine wakes once for them and the server
// writes once.
func (e *Elector) untilRenewal(now time.Time) time.Duration {
	every := e.renewEvery()
	return every - time.Duration(now.UnixNano()%int64(every))
}

// patience is how long after its last renewal a leader gives up: Kubernetes'
// clients begin to count when they next try, RetryPeriod later. It ends before
// others may take the lease.
func (e *Elector) patience() time.Duration {
	return max(e.o.RenewDeadline, min(e.o.RenewDeadline+e.o.RetryPeriod, e.o.LeaseDuration-e.o.RetryPeriod/2))
}

func (e *Elector) renewed(at time.Time) {
	if e.o.Renewed != nil {
		e.o.Renewed(at)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try takes or renews the lease. Not holding it without an error means that
// somebody else does.
func (e *Elector) try(ctx context.Context) (held bool, err error) {
	now := time.Now()
	if e.holds() && now.Before(e.observedAt.Add(e.o.LeaseDuration)) {
		// As the holder we know the lease: one call instead of two.
		if l, err := e.leases.Update(ctx, e.lease(e.observed, now)); err == nil {
			e.observe(l, now)
			return true, nil
		}
	}
	l, err := e.leases.Get(ctx, e.o.Namespace, e.o.Name)
	if apierrors.IsNotFound(err) {
		l, err = e.leases.Create(ctx, e.lease(nil, now))
		if err != nil {
			return false, fmt.Errorf("create the lease: %w", err)
		}
		e.observe(l, now)
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the lease: %w", err)
	}
	e.observe(l, time.Now())
	if !e.holds() && holder(l) != "" && time.Now().Before(e.observedAt.Add(duration(l))) {
		return false, nil
	}
	l, err = e.leases.Update(ctx, e.lease(l, now))
	if err != nil {
		return false, fmt.Errorf("take the lease: %w", err)
	}
	e.observe(l, now)
	return true, nil
}

func (e *Elector) holds() bool { return e.observed != nil && holder(e.observed) == e.o.Identity }

func holder(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func duration(l *coordinationv1.Lease) time.Duration {
	if l.Spec.LeaseDurationSeconds == nil {
		return 0
	}
	return time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
}

// observe notes a lease and, when its spec is new, the time.
func (e *Elector) observe(l *coordinationv1.Lease, at time.Time) {
	if e.observed == nil || e.observed.ResourceVersion != l.ResourceVersion && !sameTerm(e.observed, l) {
		e.observedAt = at
	}
	e.observed = l
	if h := holder(l); h != e.leader {
		e.leader = h
		if e.o.Observed != nil {
			e.o.Observed(h)
		}
	}
}

// sameTerm reports whether nothing that a holder writes has changed.
func sameTerm(a, b *coordinationv1.Lease) bool {
	return holder(a) == holder(b) && a.Spec.RenewTime.Equal(b.Spec.RenewTime) && a.Spec.AcquireTime.Equal(b.Spec.AcquireTime) && duration(a) == duration(b)
}

// lease is what we write: ours from now on. from is what is there.
func (e *Elector) lease(from *coordinationv1.Lease, now time.Time) *coordinationv1.Lease {
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: e.o.Namespace, Name: e.o.Name}}
	if from != nil {
		l = from.DeepCopy()
	}
	at := metav1.NewMicroTime(now)
	if from == nil || holder(from) != e.o.Identity {
		l.Spec.AcquireTime = &at
		transitions := int32(0)
		if from != nil {
			if t := from.Spec.LeaseTransitions; t != nil {
				transitions = *t
			}
			transitions++
		}
		l.Spec.LeaseTransitions = &transitions
	}
	seconds := int32(e.o.LeaseDuration / time.Second)
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &e.o.Identity, &seconds, &at
	return l
}

// releaseTime bounds the last write: the process is about to end.
const releaseTime = 3 * time.Second

// release lets the next one lead at once.
func (e *Elector) release() {
	if e.o.KeepOnStop || !e.holds() {
		return
	}
	l := e.observed.DeepCopy()
	none, second, now := "", int32(1), metav1.NewMicroTime(time.Now())
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &none, &second
	l.Spec.RenewTime, l.Spec.AcquireTime = &now, &now
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	if _, err := e.leases.Update(ctx, l); err != nil {
		e.o.Log.Warn("could not release the lease", zap.String("lease", e.o.Namespace+"/"+e.o.Name), zap.Error(err))
	}
}
