package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// Options of a replica; the zero value is all objects, whole, without indexes.
type Options[T Item] struct {
	Selection client.Selection
	// Fields and MetadataOnly are a projection: only metadata and the named
	// fields are received and kept.
	Fields       []string
	MetadataOnly bool
	Indexes      []*Index[T]
	// Trim takes out of a new object what nobody here needs.
	Trim func(obj T)
	// DetectMutations checks that nobody changes objects of the replica, and
	// panics when somebody does; always on under the race detector.
	DetectMutations bool
	Metrics         *Metrics
	Log             *zap.Logger
}

// Change is what a handler is told. Handlers look at the objects to find the
// keys to queue, and nothing more: several changes of an object may come as
// one, and what it is now is in the snapshot.
type Change[T Item] struct {
	Key Key
	// Old and New are absent (HasOld, HasNew false) for new and deleted objects.
	Old, New       T
	HasOld, HasNew bool
}

// Replica is a local copy of the objects that one subscription selects. Run
// owns it; everybody else reads snapshots.
type Replica[T Item] struct {
	resource *scheme.Resource
	stream   *stream.Stream
	decode   func(*pb.Object) (T, error)
	o        Options[T]
	metrics  *replicaMetrics
	detector *detector

	snapshot atomic.Pointer[Snapshot[T]]
	synced   chan struct{}
	started  atomic.Bool
	handlers []func(Change[T]) // fixed once Run has started
	progress progress

	// Owned by Run.
	next *draft[T] // a round of initial objects, nil outside of one
}

// progress wakes those who wait for a revision.
type progress struct {
	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed and replaced at each snapshot
	err     error         // guarded by mu: why the subscription is refused
}

// New makes a replica of the resource whose objects are T, fed by s. It is
// empty until Run.
func New[T scheme.Object](c *client.Client, s *stream.Stream, o Options[T]) (*Replica[T], error) {
	r, err := client.ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	projected := o.projected()
	return newReplica(r, s, func(raw *pb.Object) (T, error) { return client.Decode[T](r, raw, projected) }, o), nil
}

// projected objects lack fields, and so have no defaults.
func (o *Options[T]) projected() bool { return o.MetadataOnly || len(o.Fields) > 0 }

func newReplica[T Item](r *scheme.Resource, s *stream.Stream, decode func(*pb.Object) (T, error), o Options[T]) *Replica[T] {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	replica := &Replica[T]{resource: r, stream: s, decode: decode, o: o, synced: make(chan struct{})}
	replica.progress.changed = make(chan struct{})
	replica.snapshot.Store(&Snapshot[T]{indexes: o.Indexes, indexed: make([]tree[T], len(o.Indexes))})
	replica.metrics = o.Metrics.replica(r)
	if o.DetectMutations || raceEnabled {
		replica.detector = newDetector()
	}
	return replica
}

// Resource is what the replica holds objects of.
func (r *Replica[T]) Resource() *scheme.Resource { return r.resource }

// OnChange adds a handler of changes, before Run. Handlers run on the
// replica's goroutine once the snapshot with the change is in place; they
// must not block.
func (r *Replica[T]) OnChange(f func(Change[T])) {
	if r.started.Load() {
		panic("cache: OnChange after Run")
	}
	r.handlers = append(r.handlers, f)
}

// Snapshot is the newest state.
func (r *Replica[T]) Snapshot() *Snapshot[T] { return r.snapshot.Load() }

// Get finds an object in the newest state.
func (r *Replica[T]) Get(namespace, name string) (T, bool) { return r.Snapshot().Get(namespace, name) }

// HasSynced reports whether the initial objects are complete.
func (r *Replica[T]) HasSynced() bool {
	select {
	case <-r.synced:
		return true
	default:
		return false
	}
}

// WaitForSync waits until the initial objects are complete.
func (r *Replica[T]) WaitForSync(ctx context.Context) error {
	select {
	case <-r.synced:
		return nil
	case <-ctx.Done():
		r.progress.mu.Lock()
		defer r.progress.mu.Unlock()
		return fmt.Errorf("replica of %s: %w", r.resource.Plural, errors.Join(ctx.Err(), r.progress.err))
	}
}

// WaitFor waits until the replica has seen a revision: that of an own write,
// for example. While nothing happens to the selected objects, news of the
// revision come with the next bookmark only.
func (r *Replica[T]) WaitFor(ctx context.Context, revision int64) error {
	for {
		r.progress.mu.Lock()
		changed := r.progress.changed
		r.progress.mu.Unlock()
		if r.HasSynced() && r.Snapshot().Revision() >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run follows the subscription until ctx ends.
func (r *Replica[T]) Run(ctx context.Context) error {
	if r.started.Swap(true) {
		return errors.New("cache: the replica runs already")
	}
	sub := r.stream.Add(stream.Request{
		Resource: client.Name(r.resource), Selection: r.o.Selection, Projection: client.Projection(r.o.MetadataOnly, r.o.Fields),
	})
	defer sub.Close()
	r.metrics.follow(sub.Waiting)
	defer r.metrics.forget()
	defer r.detector.run()()
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		r.apply(b)
	}
}

func (r *Replica[T]) apply(b stream.Batch) {
	r.metrics.batch(b)
	if b.Err != nil {
		r.o.Log.Warn("subscription refused", zap.String("kind", r.resource.Kind), zap.Error(b.Err))
		r.progress.mu.Lock()
		r.progress.err = b.Err
		r.progress.mu.Unlock()
		return
	}
	if b.Reset {
		if r.HasSynced() {
			r.metrics.relist()
			r.o.Log.Debug("starting over", zap.String("kind", r.resource.Kind), zap.Int64("revision", r.Snapshot().Revision()))
		}
		r.next = r.empty().draft()
	}
	if r.next != nil {
		r.initial(b)
		return
	}
	r.follow(b)
}

func (r *Replica[T]) empty() *Snapshot[T] {
	return &Snapshot[T]{indexes: r.o.Indexes, indexed: make([]tree[T], len(r.o.Indexes))}
}

// initial collects a round of initial objects; at its end it replaces
// everything in one step.
func (r *Replica[T]) initial(b stream.Batch) {
	old := r.Snapshot()
	for _, e := range b.Events {
		obj, ok := r.item(e)
		if !ok {
			continue
		}
		// An object that has not changed stays the one that readers know.
		if have, ok := old.Get(obj.GetNamespace(), obj.GetName()); ok && same(have, obj) {
			obj = have
		}
		if before, replaced := r.next.put(obj); replaced {
			r.detector.leave(before)
		}
		r.detector.enter(obj)
	}
	if !b.InitialEnd {
		return
	}
	now := r.next.done(b.Revision)
	r.next = nil
	r.publish(now)
	changes := differences(old, now)
	for i := range changes {
		r.left(&changes[i])
	}
	r.tell(changes)
	if !r.HasSynced() {
		close(r.synced)
		r.o.Log.Debug("synced", zap.String("kind", r.resource.Kind), zap.Int("objects", now.Len()), zap.Int64("revision", now.Revision()))
	}
}

func same[T Item](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetResourceVersion() == b.GetResourceVersion() && a.GetResourceVersion() != ""
}

// follow applies changes.
func (r *Replica[T]) follow(b stream.Batch) {
	old := r.Snapshot()
	revision := max(old.Revision(), b.Revision)
	if len(b.Events) == 0 {
		s := *old
		s.revision = revision
		r.publish(&s)
		return
	}
	d := old.draft()
	changes := make([]Change[T], 0, len(b.Events))
	for _, e := range b.Events {
		obj, ok := r.item(e)
		if !ok {
			continue
		}
		c := Change[T]{Key: KeyOf(obj)}
		if e.Type == pb.Event_DELETED {
			c.Old, c.HasOld = d.remove(obj.GetNamespace(), obj.GetName())
			if !c.HasOld {
				continue
			}
			r.left(&c)
			// The last state may say more than what was known.
			c.Old = obj
		} else {
			c.New, c.HasNew = obj, true
			c.Old, c.HasOld = d.put(obj)
			r.detector.enter(obj)
			r.left(&c)
		}
		changes = append(changes, c)
	}
	r.publish(d.done(revision))
	r.tell(changes)
}

// left is told of what a change took out.
func (r *Replica[T]) left(c *Change[T]) {
	if c.HasOld {
		r.detector.leave(c.Old)
	}
}

// item makes the object of an event. One that can't be decoded is a fault
// of the server's store or of the two sides' releases; to go on without it
// and say so beats stopping the component.
func (r *Replica[T]) item(e *pb.Event) (T, bool) {
	obj, err := r.decode(e.Object)
	if err != nil {
		r.o.Log.Error("an object can't be decoded", zap.String("kind", r.resource.Kind), zap.Error(err))
		r.metrics.undecodable()
		return obj, false
	}
	if r.o.Trim != nil {
		r.o.Trim(obj)
	}
	r.metrics.event(e.Type)
	return obj, true
}

func (r *Replica[T]) publish(s *Snapshot[T]) {
	r.snapshot.Store(s)
	r.metrics.published(s.revision, s.Len())
	r.progress.mu.Lock()
	close(r.progress.changed)
	r.progress.changed = make(chan struct{})
	r.progress.err = nil
	r.progress.mu.Unlock()
}

func (r *Replica[T]) tell(changes []Change[T]) {
	for i := range changes {
		for _, h := range r.handlers {
			h(changes[i])
		}
	}
}

// differences are the changes that lead from one snapshot to another.
func differences[T Item](old, now *Snapshot[T]) []Change[T] {
	var out []Change[T]
	for _, obj := range now.objects.from("") {
		before, ok := old.Get(obj.GetNamespace(), obj.GetName())
		if ok && same(before, obj) {
			continue
		}
		out = append(out, Change[T]{Key: KeyOf(obj), Old: before, HasOld: ok, New: obj, HasNew: true})
	}
	for _, obj := range old.objects.from("") {
		if _, ok := now.Get(obj.GetNamespace(), obj.GetName()); !ok {
			out = append(out, Change[T]{Key: KeyOf(obj), Old: obj, HasOld: true})
		}
	}
	return out
}

// Synced is any replica.
type Synced interface {
	HasSynced() bool
	WaitForSync(ctx context.Context) error
}

// WaitForSync waits for several replicas.
func WaitForSync(ctx context.Context, replicas ...Synced) error {
	for _, r := range replicas {
		if err := r.WaitForSync(ctx); err != nil {
			return err
		}
	}
	return nil
}
