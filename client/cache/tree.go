package cache

import (
	"iter"
	"slices"
	"strings"
)

// tree is an immutable ordered map from strings: a sorted list of sorted
// leaves. Edits copy the list and the leaves they touch; readers of older
// versions are not disturbed. The list is short (an entry per leafSize/2 to
// leafSize objects), so that copying it costs less than a deeper tree's
// pointers, and a batch of edits copies it once.
type tree[V any] struct {
	leaves []*leaf[V]
	size   int
}

const leafSize = 128

type leaf[V any] struct {
	entries []entry[V]
	owner   *edit[V] // who may change it in place; cleared by nobody, compared only
}

type entry[V any] struct {
	key   string
	value V
}

func compareKey[V any](e entry[V], key string) int { return strings.Compare(e.key, key) }

// find gives the leaf that key belongs to.
func (t *tree[V]) find(key string) int {
	i, ok := slices.BinarySearchFunc(t.leaves, key, func(l *leaf[V], key string) int { return strings.Compare(l.entries[0].key, key) })
	if !ok && i > 0 {
		i--
	}
	return i
}

func (t *tree[V]) get(key string) (v V, ok bool) {
	if len(t.leaves) == 0 {
		return v, false
	}
	l := t.leaves[t.find(key)]
	i, ok := slices.BinarySearchFunc(l.entries, key, compareKey)
	if !ok {
		return v, false
	}
	return l.entries[i].value, true
}

// from visits entries in order, beginning at the first key not before start.
func (t *tree[V]) from(start string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if len(t.leaves) == 0 {
			return
		}
		n := t.find(start)
		i, _ := slices.BinarySearchFunc(t.leaves[n].entries, start, compareKey)
		for ; n < len(t.leaves); n++ {
			for _, e := range t.leaves[n].entries[i:] {
				if !yield(e.key, e.value) {
					return
				}
			}
			i = 0
		}
	}
}

// prefix visits the entries whose keys begin with p.
func (t *tree[V]) prefix(p string) iter.Seq[V] {
	return func(yield func(V) bool) {
		for k, v := range t.from(p) {
			if !strings.HasPrefix(k, p) || !yield(v) {
				return
			}
		}
	}
}

// edit is a new version in the making.
type edit[V any] struct {
	tree[V]
	copied bool // leaves is a copy
}

func (t *tree[V]) edit() *edit[V] { return &edit[V]{tree: *t} }

// done is the new version. The edit must not be used any more.
func (e *edit[V]) done() tree[V] { return e.tree }

func (e *edit[V]) own() {
	if !e.copied {
		e.leaves = slices.Clone(e.leaves)
		e.copied = true
	}
}

// mine makes leaf i one that may be changed.
func (e *edit[V]) mine(i int) *leaf[V] {
	e.own()
	l := e.leaves[i]
	if l.owner == e {
		return l
	}
	entries := make([]entry[V], len(l.entries), min(len(l.entries)+8, leafSize))
	copy(entries, l.entries)
	l = &leaf[V]{entries: entries, owner: e}
	e.leaves[i] = l
	return l
}

func (e *edit[V]) set(key string, value V) {
	if len(e.leaves) == 0 {
		e.own()
		e.leaves = append(e.leaves, &leaf[V]{entries: []entry[V]{{key, value}}, owner: e})
		e.size = 1
		return
	}
	n := e.find(key)
	l := e.mine(n)
	i, found := slices.BinarySearchFunc(l.entries, key, compareKey)
	if found {
		// The new key's memory belongs to the new value.
		l.entries[i] = entry[V]{key, value}
		return
	}
	e.size++
	if len(l.entries) < leafSize {
		l.entries = slices.Insert(l.entries, i, entry[V]{key, value})
		return
	}
	e.split(n, i, entry[V]{key, value})
}

// split makes two leaves of a full one. Appending at the end, which a list in
// order does, leaves the first one full.
func (e *edit[V]) split(n, i int, added entry[V]) {
	l := e.leaves[n]
	at := leafSize / 2
	if i == leafSize && n == len(e.leaves)-1 {
		at = leafSize
	}
	right := &leaf[V]{entries: slices.Clone(l.entries[at:]), owner: e}
	clear(l.entries[at:])
	l.entries = l.entries[:at]
	e.leaves = slices.Insert(e.leaves, n+1, right)
	if i > at || i == leafSize {
		right.entries = slices.Insert(right.entries, i-at, added)
		return
	}
	l.entries = slices.Insert(l.entries, i, added)
}

func (e *edit[V]) remove(key string) bool {
	if len(e.leaves) == 0 {
		return false
	}
	n := e.find(key)
	i, found := slices.BinarySearchFunc(e.leaves[n].entries, key, compareKey)
	if !found {
		return false
	}
	l := e.mine(n)
	l.entries = slices.Delete(l.entries, i, i+1)
	e.size--
	if len(l.entries) < leafSize/4 {
		e.merge(n)
	}
	return true
}

// merge joins a small leaf with a neighbour that has room.
func (e *edit[V]) merge(n int) {
	if len(e.leaves[n].entries) == 0 {
		e.leaves = slices.Delete(e.leaves, n, n+1)
		return
	}
	for _, first := range []int{n - 1, n} {
		if first < 0 || first+1 >= len(e.leaves) {
			continue
		}
		right := e.leaves[first+1]
		if len(e.leaves[first].entries)+len(right.entries) > leafSize*3/4 {
			continue
		}
		left := e.mine(first)
		left.entries = append(left.entries, right.entries...)
		e.leaves = slices.Delete(e.leaves, first+1, first+2)
		return
	}
}
