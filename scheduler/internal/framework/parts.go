package framework

import "slices"

// Parts gives tuples of numbers small numbers: keys of facets that are made
// of several parts.
type Parts struct {
	ids    map[[2]int32]int32
	tuples [][]int32
}

// NewParts makes an empty table.
func NewParts() *Parts { return &Parts{ids: map[[2]int32]int32{}, tuples: [][]int32{nil}} }

// Key of a tuple, which may be reused by the caller.
func (t *Parts) Key(tuple []int32) int32 {
	// Prefixes have keys of their own: a chain of pairs.
	id := int32(0)
	for i, p := range tuple {
		pair := [2]int32{id, p}
		next, ok := t.ids[pair]
		if !ok {
			next = int32(len(t.tuples))
			t.ids[pair] = next
			t.tuples = append(t.tuples, slices.Clone(tuple[:i+1]))
		}
		id = next
	}
	return id
}

// Of is the tuple of a key.
func (t *Parts) Of(key int32) []int32 { return t.tuples[key] }
