// Package cache keeps replicas: local, indexed copies of the objects that a
// subscription selects. Reads are lock-free on immutable snapshots; each
// batch of events makes a new one, in which all indexes agree.
//
// Objects in a replica are shared by all readers and must not be changed;
// clone before changing. Under the race detector, or when asked to, a
// replica checks that nobody does.
package cache

import (
	"iter"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Key names an object; the namespace of cluster-scoped ones is empty.
type Key = types.NamespacedName

// KeyOf is an object's key.
func KeyOf(obj Item) Key { return Key{Namespace: obj.GetNamespace(), Name: obj.GetName()} }

// Index finds objects by values computed from them: a pod's node, an owner's
// uid. The zero values of an object's index are none at all.
type Index[T Item] struct {
	// Name is for people.
	Name string
	// Values are what the object is found by. It must depend on nothing but
	// the object.
	Values func(obj T) []string
}

// separator can't be in a namespace or name, and ends an index's value.
const separator = "\x00"

func treeKey(namespace, name string) string { return namespace + separator + name }

// Snapshot is the state of a replica at one revision.
type Snapshot[T Item] struct {
	revision int64
	objects  tree[T]
	indexes  []*Index[T]
	indexed  []tree[T] // in the order of indexes
}

// Revision up to which the snapshot is complete; 0 before the first sync.
func (s *Snapshot[T]) Revision() int64 { return s.revision }

// Len is the number of objects.
func (s *Snapshot[T]) Len() int { return s.objects.size }

// Get finds an object.
func (s *Snapshot[T]) Get(namespace, name string) (T, bool) {
	return s.objects.get(treeKey(namespace, name))
}

// Lookup is Get by key.
func (s *Snapshot[T]) Lookup(k Key) (T, bool) { return s.Get(k.Namespace, k.Name) }

// All visits every object, by namespace and name.
func (s *Snapshot[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range s.objects.from("") {
			if !yield(v) {
				return
			}
		}
	}
}

// In visits the objects of a namespace, by name.
func (s *Snapshot[T]) In(namespace string) iter.Seq[T] {
	return s.objects.prefix(namespace + separator)
}

// By visits the objects that an index finds by a value, by namespace and
// name. It panics when the replica was made without the index, which is a
// mistake in the program.
func (s *Snapshot[T]) By(index *Index[T], value string) iter.Seq[T] {
	for i, have := range s.indexes {
		if have == index {
			return s.indexed[i].prefix(value + separator)
		}
	}
	panic("cache: the replica has no index " + index.Name)
}

// Values visits the distinct values of an index, in order.
func (s *Snapshot[T]) Values(index *Index[T]) iter.Seq[string] {
	for i, have := range s.indexes {
		if have == index {
			return distinct(&s.indexed[i])
		}
	}
	panic("cache: the replica has no index " + index.Name)
}

func distinct[V any](t *tree[V]) iter.Seq[string] {
	return func(yield func(string) bool) {
		last, any := "", false
		for k := range t.from("") {
			value, _, _ := strings.Cut(k, separator)
			if any && value == last {
				continue
			}
			last, any = value, true
			if !yield(value) {
				return
			}
		}
	}
}

// draft is the next snapshot in the making.
type draft[T Item] struct {
	from    *Snapshot[T]
	objects *edit[T]
	indexed []*edit[T]
}

func (s *Snapshot[T]) draft() *draft[T] {
	d := &draft[T]{from: s, objects: s.objects.edit(), indexed: make([]*edit[T], len(s.indexes))}
	for i := range s.indexed {
		d.indexed[i] = s.indexed[i].edit()
	}
	return d
}

// put stores an object and gives the one it replaces.
func (d *draft[T]) put(obj T) (old T, replaced bool) {
	key := treeKey(obj.GetNamespace(), obj.GetName())
	if old, replaced = d.objects.get(key); replaced {
		d.unindex(key, old, obj)
	}
	d.objects.set(key, obj)
	for i, x := range d.from.indexes {
		for _, v := range x.Values(obj) {
			d.indexed[i].set(v+separator+key, obj)
		}
	}
	return old, replaced
}

// unindex removes old where obj won't stand.
func (d *draft[T]) unindex(key string, old, obj T) {
	for i, x := range d.from.indexes {
		now := x.Values(obj)
	values:
		for _, v := range x.Values(old) {
			for _, n := range now {
				if n == v {
					continue values
				}
			}
			d.indexed[i].remove(v + separator + key)
		}
	}
}

// remove takes an object out and gives it.
func (d *draft[T]) remove(namespace, name string) (old T, ok bool) {
	key := treeKey(namespace, name)
	if old, ok = d.objects.get(key); !ok {
		return old, false
	}
	d.objects.remove(key)
	for i, x := range d.from.indexes {
		for _, v := range x.Values(old) {
			d.indexed[i].remove(v + separator + key)
		}
	}
	return old, true
}

func (d *draft[T]) done(revision int64) *Snapshot[T] {
	s := &Snapshot[T]{revision: revision, objects: d.objects.done(), indexes: d.from.indexes, indexed: make([]tree[T], len(d.indexed))}
	for i, e := range d.indexed {
		s.indexed[i] = e.done()
	}
	return s
}
