package watchcache

import (
	"strconv"
	"sync"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// decoded keeps decoded objects for the parts of the server that read cluster
// state. It is bounded: an object that is asked for often stays.
type decoded struct {
	store *Store

	mu sync.Mutex
	// guarded by mu: two generations; what is used moves to the young one.
	young, old map[*storage.Object]scheme.Object
	bytes      int // of the young, as stored
}

// decodedBytes bounds a generation, in stored bytes. Structs take several
// times as much.
const decodedBytes = 4 << 20

func (d *decoded) get(c *collection, o *storage.Object) (scheme.Object, bool) {
	d.mu.Lock()
	if out, ok := d.young[o]; ok {
		d.mu.Unlock()
		return out, true
	}
	out, ok := d.old[o]
	d.mu.Unlock()
	if !ok {
		if out, ok = c.decode(o); !ok {
			return nil, false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, ok := d.young[o]; ok {
		return have, true
	}
	if d.young == nil || d.bytes > decodedBytes {
		d.old, d.young, d.bytes = d.young, map[*storage.Object]scheme.Object{}, 0
	}
	d.young[o] = out
	d.bytes += len(o.Raw) + 256
	return out, true
}

// decode makes the struct. Custom resources have none.
func (c *collection) decode(o *storage.Object) (scheme.Object, bool) {
	if c.resource.New == nil {
		return nil, false
	}
	out, ok := c.resource.New().(scheme.Object)
	if !ok {
		return nil, false
	}
	if err := out.Unmarshal(o.Raw); err != nil {
		c.store.log.Error("a stored object is corrupt", zap.String("namespace", o.Namespace), zap.String("name", o.Name), zap.Error(err))
		return nil, false
	}
	out.SetResourceVersion(revisionString(o.Revision))
	return out, true
}

// Get is the newest cached object.
func (s *Store) Get(r *scheme.Resource, namespace, name string) (scheme.Object, bool) {
	c := s.collection(r)
	o := c.Newest(namespace, name)
	if o == nil {
		return nil, false
	}
	return s.reader.get(c, o)
}

// List is every object of a namespace, in order.
func (s *Store) List(r *scheme.Resource, namespace string) []scheme.Object {
	return s.decodeAll(r, storage.Selection{Namespace: namespace})
}

// ListByField is the objects whose selectable field has the value.
func (s *Store) ListByField(r *scheme.Resource, label, value string) []scheme.Object {
	f := storage.FieldRequirement{Value: value}
	switch label {
	case "metadata.name":
		f.Index = storage.IndexName
	case "metadata.namespace":
		f.Index = storage.IndexNamespace
	default:
		f.Index = -3
		for i := range r.Fields {
			if r.Fields[i].Label == label {
				f.Index = i
			}
		}
		if f.Index == -3 {
			return nil
		}
	}
	return s.decodeAll(r, storage.Selection{Fields: []storage.FieldRequirement{f}})
}

func (s *Store) decodeAll(r *scheme.Resource, sel storage.Selection) []scheme.Object {
	c := s.collection(r)
	v := c.view.Load()
	if v == nil {
		return nil
	}
	w := *v
	w.corrupt = nil // what cannot be read is left out here
	q := query{selector: newSelector(sel)}
	q.from = key{namespace: q.Namespace}
	l, err := c.page(&w, q, 0)
	if err != nil {
		return nil
	}
	out := make([]scheme.Object, 0, len(l.Objects))
	for _, o := range l.Objects {
		if d, ok := s.reader.get(c, o); ok {
			out = append(out, d)
		}
	}
	return out
}

// Changed rises whenever anything in the resource changes.
func (s *Store) Changed(r *scheme.Resource) int64 { return s.collection(r).Changed() }

func revisionString(revision int64) string { return strconv.FormatInt(revision, 10) }
