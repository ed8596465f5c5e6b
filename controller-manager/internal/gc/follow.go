package gc

import (
	"context"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/stream"
	"xebec.dev/controller-manager/internal/catalog"
	pb "xebec.dev/proto/gen/control/v1"
)

// ignored resources have no owners and come in masses.
var ignored = map[string]bool{"events": true, "events.events.k8s.io": true}

// follower feeds the graph from one resource's metadata.
type follower struct {
	c        *collector
	resource *catalog.Resource
	synced   atomic.Bool
	stop     context.CancelFunc

	// Owned by run: the uids of a round of initial objects.
	round map[types.UID]struct{}
}

// followers are the resources that are followed.
type followers struct {
	c *collector

	mu      sync.Mutex
	running sync.WaitGroup
	by      map[catalog.Resource]*follower // guarded by mu
}

// sync follows the resources there are now, and no others.
func (f *followers) sync(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[catalog.Resource]bool{}
	for _, r := range f.c.catalog.All() {
		if ignored[r.String()] {
			continue
		}
		wanted[r] = true
		if f.by[r] != nil {
			continue
		}
		one, cancel := context.WithCancel(ctx)
		w := &follower{c: f.c, resource: &r, stop: cancel}
		f.by[r] = w
		f.running.Go(func() { w.run(ctx, one) })
	}
	for r, w := range f.by {
		if !wanted[r] {
			w.stop()
			delete(f.by, r)
		}
	}
}

// ready reports whether all initial objects have come, or are refused.
func (f *followers) ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.by {
		if !w.synced.Load() {
			return false
		}
	}
	return true
}

// run follows until ctx ends; when that is not the end of all, the resource is
// served no more, and its objects are gone with it.
func (w *follower) run(all, ctx context.Context) {
	sub := w.c.env.Replicas.Stream.Add(stream.Request{
		Resource: w.resource.Wire(), Projection: client.Projection(true, nil),
		// Deletions name the revision that was seen, and one that is old costs a
		// second look. Leases are renewed all the time and hardly ever deleted.
		ChangedOnly: w.resource.Plural == "leases",
	})
	defer sub.Close()
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			if all.Err() == nil {
				w.forgetAll()
			}
			return
		}
		w.apply(b)
	}
}

func (w *follower) apply(b stream.Batch) {
	if b.Err != nil {
		w.synced.Store(true) // the server does not serve it, or not to us
		w.c.env.Log.Debug("not followed", zap.Stringer("resource", w.resource), zap.Error(b.Err))
		return
	}
	if b.Reset {
		w.round = map[types.UID]struct{}{}
	}
	objects := make([]*metav1.PartialObjectMetadata, len(b.Events))
	for i, e := range b.Events {
		m, err := client.DecodeMetadata(e.Object)
		if err != nil {
			w.c.env.Log.Error("metadata that can't be decoded", zap.Stringer("resource", w.resource), zap.Error(err))
			continue
		}
		objects[i] = m
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for i, m := range objects {
		if m == nil {
			continue
		}
		if b.Events[i].Type == pb.Event_DELETED {
			w.c.graph.forget(m.UID)
			continue
		}
		if w.round != nil {
			w.round[m.UID] = struct{}{}
		}
		w.c.graph.observe(w.resource, m)
	}
	if b.InitialEnd && w.round != nil {
		w.forgetMissing()
		w.synced.Store(true)
	}
}

// forgetMissing forgets what a new round did not bring. It needs the lock.
func (w *follower) forgetMissing() {
	for uid, n := range w.c.graph.nodes {
		if n.resource == w.resource && !n.virtual {
			if _, ok := w.round[uid]; !ok {
				w.c.graph.forget(uid)
			}
		}
	}
	w.round = nil
}

func (w *follower) forgetAll() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.round = nil
	w.forgetMissing()
}
