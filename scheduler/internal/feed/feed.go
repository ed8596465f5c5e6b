// Package feed turns subscriptions into changes for the scheduler's loop:
// each with the object before and after. Objects are decoded beside the loop.
package feed

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// Change of an object; nil (zero) where there was or is none.
type Change[T any] struct{ Old, New T }

// Options of a feed.
type Options struct {
	Selection client.Selection
	// Fields, when not empty, are all that is received.
	Fields []string
	Log    *zap.Logger
}

// Feed follows one kind of objects.
type Feed[T scheme.Object] struct {
	resource *scheme.Resource
	stream   *stream.Stream
	o        Options
	// apply is told of changes, in order; synced is set with the first batch
	// that completes the initial objects.
	apply func(changes []Change[T], synced bool)

	known map[cache.Key]T
	// next collects a round of initial objects; nil outside of one.
	next map[cache.Key]T
}

// New makes a feed; apply is called on its goroutine.
func New[T scheme.Object](c *client.Client, s *stream.Stream, o Options, apply func(changes []Change[T], synced bool)) (*Feed[T], error) {
	r, err := client.ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Feed[T]{resource: r, stream: s, o: o, apply: apply, known: map[cache.Key]T{}}, nil
}

// Run follows until ctx ends.
func (f *Feed[T]) Run(ctx context.Context) error {
	sub := f.stream.Add(stream.Request{Resource: client.Name(f.resource), Selection: f.o.Selection, Projection: client.Projection(false, f.o.Fields)})
	defer sub.Close()
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if b.Err != nil {
			f.o.Log.Warn("subscription refused", zap.String("kind", f.resource.Kind), zap.Error(b.Err))
			continue
		}
		f.batch(&b)
	}
}

func (f *Feed[T]) batch(b *stream.Batch) {
	if b.Reset {
		f.next = map[cache.Key]T{}
	}
	if f.next != nil {
		for _, e := range b.Events {
			if obj, ok := f.decode(e); ok {
				f.next[cache.KeyOf(obj)] = obj
			}
		}
		if b.InitialEnd {
			f.replace()
		}
		return
	}
	changes := make([]Change[T], 0, len(b.Events))
	for _, e := range b.Events {
		obj, ok := f.decode(e)
		if !ok {
			continue
		}
		key := cache.KeyOf(obj)
		old, had := f.known[key]
		switch {
		case e.Type == pb.Event_DELETED:
			if had {
				delete(f.known, key)
				changes = append(changes, Change[T]{Old: old})
			}
		case had && old.GetUID() != obj.GetUID():
			f.known[key] = obj
			changes = append(changes, Change[T]{Old: old}, Change[T]{New: obj})
		default:
			f.known[key] = obj
			changes = append(changes, Change[T]{Old: old, New: obj})
		}
	}
	if len(changes) > 0 {
		f.apply(changes, false)
	}
}

// replace puts a round of initial objects in place of what was known.
func (f *Feed[T]) replace() {
	changes := make([]Change[T], 0, len(f.next))
	for key, old := range f.known {
		if now, ok := f.next[key]; !ok || now.GetUID() != old.GetUID() {
			changes = append(changes, Change[T]{Old: old})
			delete(f.known, key)
		}
	}
	for key, now := range f.next {
		old, had := f.known[key]
		if !had || old.GetResourceVersion() != now.GetResourceVersion() {
			changes = append(changes, Change[T]{Old: old, New: now})
		}
	}
	f.known, f.next = f.next, nil
	f.apply(changes, true)
}

// decode makes the object of an event. To go on without one that can't be
// decoded, and say so, beats stopping.
func (f *Feed[T]) decode(e *pb.Event) (T, bool) {
	obj, err := client.Decode[T](f.resource, e.Object, len(f.o.Fields) > 0)
	if err != nil {
		f.o.Log.Error("an object can't be decoded", zap.String("kind", f.resource.Kind), zap.Error(err))
		return obj, false
	}
	return obj, true
}

// Table is objects by namespace and name, for the owner of the loop.
type Table[T scheme.Object] struct {
	byNamespace map[string]map[string]T
	// Generation moves with every change, but for those that Same, when set,
	// says change nothing.
	Generation int
	Same       func(a, b T) bool
}

// Apply takes changes.
func (t *Table[T]) Apply(changes []Change[T]) {
	if t.byNamespace == nil {
		t.byNamespace = map[string]map[string]T{}
	}
	var none T
	for _, c := range changes {
		if any(c.New) == any(none) {
			delete(t.byNamespace[c.Old.GetNamespace()], c.Old.GetName())
			t.Generation++
			continue
		}
		in := t.byNamespace[c.New.GetNamespace()]
		if in == nil {
			in = map[string]T{}
			t.byNamespace[c.New.GetNamespace()] = in
		}
		old, had := in[c.New.GetName()]
		in[c.New.GetName()] = c.New
		if !had || t.Same == nil || !t.Same(old, c.New) {
			t.Generation++
		}
	}
}

// Get finds an object.
func (t *Table[T]) Get(namespace, name string) (obj T, ok bool) {
	obj, ok = t.byNamespace[namespace][name]
	return obj, ok
}

// In is the objects of a namespace by name; not to be changed.
func (t *Table[T]) In(namespace string) map[string]T { return t.byNamespace[namespace] }

// Namespaces that have or had objects.
func (t *Table[T]) Namespaces() []string { return slices.Collect(maps.Keys(t.byNamespace)) }
