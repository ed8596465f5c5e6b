package clienttest

import (
	"slices"
	"strings"
	"sync"

	"xebec.dev/api/scheme"
)

// logSize is how many changes a watch may be behind.
const logSize = 100_000

// store is all objects and the newest changes.
type store struct {
	mu sync.Mutex
	// guarded by mu
	revision  int64
	objects   map[string]map[string]*stored // by resource, by namespace/name
	log       []change                      // in order of revision
	compacted int64                         // changes up to here are forgotten
	changed   chan struct{}                 // closed and replaced by each change
}

// stored is one version of an object. It is never changed.
type stored struct {
	obj      scheme.Object
	raw      []byte
	revision int64
}

type change struct {
	resource string
	old, now *stored // nil for none
	revision int64
}

func newStore() *store {
	return &store{objects: map[string]map[string]*stored{}, changed: make(chan struct{}), revision: 1}
}

func (s *store) current() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

func (s *store) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.compacted = nil, s.revision
}

func resourceKey(r *scheme.Resource) string { return r.Group + "/" + r.Plural }
func objectKey(namespace, name string) string {
	return namespace + "/" + name
}

// get needs the lock.
func (s *store) get(r *scheme.Resource, namespace, name string) *stored {
	return s.objects[resourceKey(r)][objectKey(namespace, name)]
}

// put stores or, with a nil object, removes. It needs the lock.
func (s *store) put(r *scheme.Resource, old *stored, obj scheme.Object) (*stored, error) {
	var now *stored
	of := obj
	if obj == nil {
		of = old.obj
	} else {
		obj.SetResourceVersion("")
		raw, err := obj.Marshal()
		if err != nil {
			return nil, err
		}
		now = &stored{obj: obj, raw: raw, revision: s.revision + 1}
	}
	s.revision++
	byName := s.objects[resourceKey(r)]
	if byName == nil {
		byName = map[string]*stored{}
		s.objects[resourceKey(r)] = byName
	}
	key := objectKey(of.GetNamespace(), of.GetName())
	if now == nil {
		delete(byName, key)
	} else {
		byName[key] = now
	}
	s.log = append(s.log, change{resource: resourceKey(r), old: old, now: now, revision: s.revision})
	if len(s.log) > logSize {
		s.compacted = s.log[0].revision
		s.log = s.log[1:]
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return now, nil
}

// list gives what is selected, in order. It needs the lock.
func (s *store) list(r *scheme.Resource, sel *selector) []*stored {
	var out []*stored
	for _, o := range s.objects[resourceKey(r)] {
		if sel.matches(o) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *stored) int {
		return strings.Compare(objectKey(a.obj.GetNamespace(), a.obj.GetName()), objectKey(b.obj.GetNamespace(), b.obj.GetName()))
	})
	return out
}

// since gives the changes of a resource after a revision, the revision they
// lead to and a channel that is closed by the next change; ok is false when
// some of them are forgotten.
func (s *store) since(resource string, after int64) (out []change, revision int64, next <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after < s.compacted {
		return nil, 0, nil, false
	}
	i, _ := slices.BinarySearchFunc(s.log, after+1, func(c change, rev int64) int { return int(c.revision - rev) })
	for _, c := range s.log[i:] {
		if c.resource == resource {
			out = append(out, c)
		}
	}
	return out, s.revision, s.changed, true
}
