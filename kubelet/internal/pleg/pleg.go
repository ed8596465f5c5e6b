// Package pleg learns from the runtime which pods have news: by its stream of
// events where it has one, else by listing everything once a second. Either
// way it only says where to look.
package pleg

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Times of listings.
const (
	every = time.Second
	// check is between listings beside the events: events can be lost.
	check = 5 * time.Minute
	// healthy is how old the newest sign of life may be.
	healthy = 3 * time.Minute
)

// Options of a PLEG.
type Options struct {
	// Changed is told that a pod has news; it must not block.
	Changed func(uid types.UID)
	// Known reports whether a sandbox or container is known in a state: what
	// the kubelet did itself is no news to it.
	Known func(uid types.UID, id string, state runtime.State) bool
	// Found is told of every pod at each listing.
	Found func(uid types.UID, key runtime.Key)
	// Listed counts listings and their time.
	Listed func(took time.Duration, err error)
	Log    *zap.Logger
}

// PLEG watches the runtime.
type PLEG struct {
	c      *runtime.Client
	o      Options
	last   map[string]runtime.Summary // owned by Run
	seen   atomic.Int64               // when the last sign of life was, since began; 0 is never
	events atomic.Bool
	// began is what signs of life are counted from: the machine's own clock may
	// be set while the runtime is well.
	began time.Time
	look  chan struct{} // holds at most one
	// found are the pods of the last listing; nil is before the first.
	found atomic.Pointer[map[types.UID]runtime.Key]
}

// sign says that the runtime has just answered.
func (p *PLEG) sign() { p.seen.Store(int64(time.Since(p.began)) + 1) }

// New makes a PLEG.
func New(c *runtime.Client, o Options) *PLEG {
	return &PLEG{c: c, o: o, began: time.Now(), look: make(chan struct{}, 1)}
}

// Look asks for a listing soon.
func (p *PLEG) Look() {
	select {
	case p.look <- struct{}{}:
	default: // one is coming
	}
}

// Healthy reports whether the runtime answered lately, and for how long not.
func (p *PLEG) Healthy() (bool, time.Duration) {
	at := p.seen.Load()
	if at == 0 {
		return false, 0
	}
	silent := time.Since(p.began) - time.Duration(at-1)
	return silent < healthy, silent
}

// Lacks reports whether the runtime is known to have nothing of a pod that
// this kubelet has not begun: it was listed, and the pod was not there.
func (p *PLEG) Lacks(uid types.UID) bool {
	found := p.found.Load()
	if found == nil {
		return false
	}
	_, there := (*found)[uid]
	return !there
}

// Events reports whether the runtime's own events are used.
func (p *PLEG) Events() bool { return p.events.Load() }

// Run watches until ctx ends.
func (p *PLEG) Run(ctx context.Context) error {
	for {
		p.list(ctx)
		if p.hasEvents() {
			p.stream(ctx)
		}
		if err := rest(ctx, every); err != nil {
			return err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list compares everything with the last listing.
func (p *PLEG) list(ctx context.Context) {
	began := time.Now()
	all, err := p.c.List(ctx)
	if p.o.Listed != nil {
		p.o.Listed(time.Since(began), err)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.o.Log.Debug("the runtime can't be listed", zap.Error(err))
		}
		return
	}
	p.sign()
	changed, found := news(p.last, all, p.o.Known)
	p.last = all
	p.found.Store(&found)
	for uid := range changed {
		p.o.Changed(uid)
	}
	for uid, key := range found {
		p.o.Found(uid, key)
	}
}

// news are the pods of which a listing says what the last did not and nobody
// knows, and all that it has.
func news(last, all map[string]runtime.Summary, known func(types.UID, string, runtime.State) bool) (changed map[types.UID]bool, found map[types.UID]runtime.Key) {
	changed, found = map[types.UID]bool{}, map[types.UID]runtime.Key{}
	for id, s := range all {
		found[s.UID] = s.Key
		if old, ok := last[id]; (!ok || old.State != s.State) && !known(s.UID, id, s.State) {
			changed[s.UID] = true
		}
	}
	for id, s := range last {
		if _, ok := all[id]; !ok {
			changed[s.UID] = true
		}
	}
	return changed, found
}

// hasEvents is false once the runtime has said that it has none.
func (p *PLEG) hasEvents() bool { return !p.c.LacksEvents() }

// stream follows the runtime's events until they end. A listing after it has
// opened finds what happened before.
func (p *PLEG) stream(ctx context.Context) {
	err := p.follow(ctx)
	p.events.Store(false)
	if ctx.Err() == nil {
		p.o.Log.Debug("the runtime's events ended", zap.Error(err))
	}
}

func (p *PLEG) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.c.Runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	events := make(chan *runtimeapi.ContainerEventResponse)
	failed := make(chan error, 1)
	go func() {
		for {
			e, err := s.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	t := time.NewTicker(check)
	defer t.Stop()
	alive := time.NewTicker(healthy / 6)
	defer alive.Stop()
	first := time.NewTimer(100 * time.Millisecond) // an unsupported call has failed by then
	defer first.Stop()
	for {
		select {
		case err := <-failed:
			if runtime.IsUnimplemented(err) {
				p.c.NoEvents()
			}
			return err
		case <-first.C:
			p.events.Store(true)
			p.list(ctx)
		case <-t.C:
			p.list(ctx)
		case <-p.look:
			p.list(ctx)
		case <-alive.C:
			p.ping(ctx)
		case e := <-events:
			p.sign()
			if uid := uidOf(e); uid != "" && tells(e) {
				p.o.Changed(uid)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ping sees whether the runtime still answers.
func (p *PLEG) ping(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, every*10)
	defer cancel()
	if _, err := p.c.Runtime.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
		p.sign()
	}
}

// tells reports whether an event is news: nobody but the kubelet makes and
// starts what is in pods.
func tells(e *runtimeapi.ContainerEventResponse) bool {
	return e.ContainerEventType != runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT && e.ContainerEventType != runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT
}

func uidOf(e *runtimeapi.ContainerEventResponse) types.UID {
	return types.UID(e.GetPodSandboxStatus().GetMetadata().GetUid())
}
