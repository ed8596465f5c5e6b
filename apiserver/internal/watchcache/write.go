package watchcache

import (
	"context"
	"sync"
	"time"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Create stores a new object.
func (c *collection) Create(ctx context.Context, namespace, name string, raw []byte, ttl time.Duration) (*storage.Object, error) {
	o, current, err := c.write(ctx, namespace, name, 0, raw, ttl)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, &storage.Exists{Object: current}
	}
	return o, nil
}

// Update replaces old.
func (c *collection) Update(ctx context.Context, old *storage.Object, raw []byte, ttl time.Duration) (*storage.Object, error) {
	o, current, err := c.write(ctx, old.Namespace, old.Name, old.Revision, raw, ttl)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, &storage.Conflict{Current: current}
	}
	return o, nil
}

// sealed are buffers for values on their way to the store, up to mostSealed
// bytes each.
var sealed = sync.Pool{New: func() any { return new([]byte) }}

const mostSealed = 64 << 10

// write puts an object if the key has the revision; otherwise the second
// result is what is there.
func (c *collection) write(ctx context.Context, namespace, name string, compare int64, raw []byte, ttl time.Duration) (o, current *storage.Object, err error) {
	k := c.key(namespace, name)
	o, err = c.indexed(k, raw, 0)
	if err != nil {
		return nil, nil, err
	}
	buffer := sealed.Get().(*[]byte)
	stored, err := c.codec.SealInto(*buffer, raw, c.store.o.KeyPrefix+k)
	if err != nil {
		return nil, nil, err
	}
	revision, r, err := c.store.batcher.Do(ctx, kv.Write{Key: k, Value: stored, Compare: compare, TTL: ttl})
	if err != nil {
		return nil, nil, err // the value may still be on its way
	}
	if len(raw) > 0 && cap(stored) <= mostSealed && &stored[0] != &raw[0] { // which JSON may be stored as
		*buffer = stored
		sealed.Put(buffer)
	}
	if !r.Done {
		current, err := c.standing(r.Current)
		return nil, current, err
	}
	o.Revision = revision
	c.own.add(o)
	return o, nil, nil
}

// standing is the object that stood in a write's way.
func (c *collection) standing(e *kv.Entry) (*storage.Object, error) {
	if e == nil {
		return nil, nil
	}
	o, err := c.object(e.Key, e.Value, e.Revision)
	if err != nil {
		return nil, &storage.Corrupt{Key: e.Key, Revision: e.Revision, Err: err}
	}
	return o, nil
}

// Delete removes old.
func (c *collection) Delete(ctx context.Context, old *storage.Object) (int64, error) {
	revision, r, err := c.store.batcher.Do(ctx, kv.Write{Key: c.key(old.Namespace, old.Name), Delete: true, Compare: old.Revision})
	if err != nil {
		return 0, err
	}
	if !r.Done {
		current, err := c.standing(r.Current)
		if err != nil {
			return 0, err
		}
		return 0, &storage.Conflict{Current: current}
	}
	c.own.add(&storage.Object{Namespace: old.Namespace, Name: old.Name, Revision: revision})
	return revision, nil
}

// Prolong begins the TTL of an object anew without writing it; false if it is
// not there as it was, or the store below can't.
func (s *Store) Prolong(ctx context.Context, r *scheme.Resource, o *storage.Object) (bool, error) {
	p, ok := s.kv.(kv.Prolonger)
	if !ok {
		return false, nil
	}
	return p.Prolong(ctx, s.collection(r).key(o.Namespace, o.Name), o.Revision)
}
