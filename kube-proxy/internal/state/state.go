// Package state follows services and their endpoints and keeps a backend as
// they say: what has changed is compiled anew, bursts are one change, and
// nothing is done before everything is known.
//
// Run owns the state; handlers of replicas only note what to look at.
package state

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"xebec.dev/client/cache"
	"xebec.dev/kube-proxy/internal/compile"
)

// Backend puts services into the kernel. One that has a Run is run beside
// that.
type Backend interface {
	// Sync makes the kernel as an update says. After an error the next one is
	// full.
	Sync(u *compile.Update) error
	// Check tells whether what Sync made is still there.
	Check() error
}

// Follower is told what is in the kernel now.
type Follower interface {
	Changed(u *compile.Update)
}

// Options of a State; the zero value works.
type Options struct {
	Node string
	// NodePorts are the networks of node ports; Primary are the node's own
	// addresses instead.
	NodePorts []netip.Prefix
	Primary   bool
	// NodeIP is the node's address of its family, whatever its Node says,
	// unless it is unspecified.
	NodeIP netip.Addr
	// MasqueradeAll replaces the source of all traffic to cluster IPs.
	MasqueradeAll bool
	// Verify is how often the backend is checked, MinPause the least time
	// between two changes.
	Verify, MinPause time.Duration
	// OwnFailures: the backend counts those of its mode itself.
	OwnFailures bool
	// Followers are told of each change once it is in the kernel.
	Followers []Follower
	// Health is told of what is to be done and of what is done.
	Health  Health
	Metrics *Metrics
	Log     *zap.Logger
}

// Health shows whether the kernel is up to date.
type Health interface {
	Queued()
	Updated()
	Node(eligible bool)
}

// State keeps a backend.
type State struct {
	o       Options
	r       *Replicas
	open    Open
	backend Backend // from Run on
	slices  slicesOf

	mu sync.Mutex
	// guarded by mu
	dirty    map[cache.Key]bool
	triggers []time.Time // when what is dirty was changed, where that is known
	node     bool        // the node is dirty

	wake chan struct{}

	// Owned by Run.
	claims    *claims
	taken     map[cache.Key]bool // what the last sync looked at
	self      compile.Node
	nodePorts []netip.Prefix
	written   bool // the backend has everything
	nodeSeen  bool
	memory    memory
}

// Open makes the backend once the replicas are fed: it may have to ask them.
type Open func(ctx context.Context) (Backend, error)

// New makes a State of replicas that somebody else runs.
func New(o Options, r *Replicas, open Open) *State {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Verify == 0 {
		o.Verify = 30 * time.Second
	}
	s := &State{o: o, r: r, open: open, dirty: map[cache.Key]bool{}, wake: make(chan struct{}, 1), claims: newClaims(), slices: slicesOf{names: map[cache.Key][]string{}}}
	r.Services.OnChange(func(c cache.Change[*Packed]) {
		s.o.Metrics.services.note()
		s.look(c.Key, time.Time{})
	})
	r.Slices.OnChange(s.sliceChanged)
	r.Node.OnChange(func(c cache.Change[*corev1.Node]) {
		s.mu.Lock()
		s.node = true
		s.mu.Unlock()
		s.signal()
	})
	return s
}

func (s *State) sliceChanged(c cache.Change[*Packed]) {
	s.o.Metrics.endpoints.note()
	var was, is cache.Key
	had, has := false, false
	if c.HasOld {
		was, had = c.Old.serviceKey()
	}
	if c.HasNew {
		is, has = c.New.serviceKey()
	}
	if had && (!has || was != is) {
		s.slices.remove(was, c.Key.Name)
		s.look(was, time.Time{})
	}
	if !has {
		return
	}
	if !had || was != is {
		s.slices.add(is, c.Key.Name)
	}
	s.look(is, triggerOf(&c))
}

// triggerOf is when what changed in a slice happened.
func triggerOf(c *cache.Change[*Packed]) time.Time {
	at := c.New.trigger
	if at == 0 || c.HasOld && c.Old.trigger == at {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// fewDirty services make a map that is worth to be cleared.
const fewDirty = 64

// manyTriggers are enough for a histogram.
const manyTriggers = 1000

func (s *State) look(k cache.Key, trigger time.Time) {
	s.mu.Lock()
	s.dirty[k] = true
	if !trigger.IsZero() && len(s.triggers) < manyTriggers {
		s.triggers = append(s.triggers, trigger)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *State) signal() {
	s.o.Metrics.now(s.o.Metrics.queued)
	if s.o.Health != nil {
		s.o.Health.Queued()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Pauses after a failure.
const (
	minRetry = time.Second
	maxRetry = 30 * time.Second
)

// Run keeps the backend until ctx ends, and leaves the kernel as it is.
func (s *State) Run(ctx context.Context) error {
	if err := cache.WaitForSync(ctx, s.r.Services, s.r.Slices, s.r.Node); err != nil {
		return err
	}
	backend, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.backend = backend
	if b, ok := backend.(interface{ Run(context.Context) error }); ok {
		ended := make(chan struct{})
		defer func() { <-ended }()
		go func() {
			defer close(ended)
			if err := b.Run(ctx); err != nil {
				s.o.Log.Error("what runs beside changes has ended", zap.Error(err))
			}
		}()
	}
	s.mu.Lock()
	s.node = true
	s.mu.Unlock()
	retry := minRetry
	// The timer goes on while changes come: to set it anew for each costs more
	// than to look a little too often.
	timer := time.NewTimer(0)
	defer timer.Stop()
	for quiet := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			quiet = false
		case <-timer.C:
			timer.Reset(s.o.Verify)
			s.verify()
			if quiet {
				s.memory.release()
			}
			quiet = true
		}
		full, err := s.sync()
		if full {
			s.memory.release() // as much again was in use for a moment
			alone()
			s.r.loaded.Store(true)
		}
		if err != nil {
			s.o.Log.Error("services are not in the kernel as they should be", zap.Error(err), zap.Duration("retry", retry))
			timer.Reset(retry)
			retry = min(retry*2, maxRetry)
		} else if retry > minRetry {
			retry = minRetry
			timer.Reset(s.o.Verify)
		}
		if s.o.MinPause > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(s.o.MinPause):
			}
		}
	}
}

// verify has everything written again where somebody else has changed it.
func (s *State) verify() {
	if !s.written {
		return
	}
	if err := s.backend.Check(); err != nil {
		s.o.Log.Warn("services are written to the kernel again", zap.Error(err))
		s.written = false
	}
}

func (s *State) take() (dirty map[cache.Key]bool, triggers []time.Time, node bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty, triggers, node = s.dirty, s.triggers, s.node
	// The map of the time before last is used again.
	next := s.taken
	if next == nil || len(next) > fewDirty {
		next = map[cache.Key]bool{}
	}
	clear(next)
	s.taken, s.dirty, s.triggers, s.node = dirty, next, nil, false
	return dirty, triggers, node
}

// sync compiles what has changed and has the backend do it; full tells that
// this was everything.
func (s *State) sync() (full bool, err error) {
	started := time.Now()
	changes := s.o.Metrics.pending()
	dirty, triggers, node := s.take()
	if node && s.readNode() {
		for svc := range s.r.Services.Snapshot().All() {
			dirty[cache.KeyOf(svc)] = true
		}
	}
	u := &compile.Update{Changes: s.claims.put(s.compile(dirty)), NodePorts: s.networks()}
	if !s.written {
		u.Full, u.Changes = true, s.claims.all()
	}
	if !u.Full && len(u.Changes) == 0 && slices.Equal(u.NodePorts, s.nodePorts) {
		s.updated()
		s.o.Metrics.settled(changes)
		return false, nil
	}
	s.written = false
	if err := s.backend.Sync(u); err != nil {
		if !s.o.OwnFailures {
			s.o.Metrics.failed()
		}
		return u.Full, err
	}
	s.written, s.nodePorts = true, u.NodePorts
	s.o.Metrics.synced(u, started, triggers)
	for _, f := range s.o.Followers {
		f.Changed(u)
	}
	s.updated()
	s.o.Metrics.settled(changes)
	return u.Full, nil
}

func (s *State) updated() {
	s.o.Metrics.now(s.o.Metrics.last)
	if s.o.Health != nil {
		s.o.Health.Updated()
	}
}

func (s *State) compile(dirty map[cache.Key]bool) map[string]*compile.Service {
	services, slices := s.r.Services.Snapshot(), s.r.Slices.Snapshot()
	out := make(map[string]*compile.Service, len(dirty))
	for k := range dirty {
		out[k.Namespace+"/"+k.Name] = s.one(k, services, slices)
	}
	return out
}

// one is what a service means, nil where there is none.
func (s *State) one(k cache.Key, services, slices *cache.Snapshot[*Packed]) *compile.Service {
	p, ok := services.Lookup(k)
	if !ok {
		for p := range s.slices.of(k, slices) {
			p.decoded = nil // it is not looked at
		}
		return nil
	}
	svc, err := p.asService()
	if err != nil {
		s.o.Log.DPanic("a service is left out", zap.Error(err)) // its bytes are our own
		return nil
	}
	var found []*discoveryv1.EndpointSlice
	for p := range s.slices.of(k, slices) {
		e, err := p.asSlice()
		if err != nil {
			s.o.Log.DPanic("endpoints are left out", zap.Error(err))
			continue
		}
		found = append(found, e)
	}
	out := compile.One(svc, found, &s.self)
	for _, e := range found {
		recycle(e)
	}
	return out
}
