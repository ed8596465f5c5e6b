package cache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func keys(t *tree[int]) []string {
	var out []string
	for k := range t.from("") {
		out = append(out, k)
	}
	return out
}

// TestTreeIsASortedMap compares versions of a tree with a plain map each.
func TestTreeIsASortedMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	model := map[string]int{}
	var now tree[int]
	type version struct {
		tree  tree[int]
		model map[string]int
	}
	var old []version
	for round := range 400 {
		e := now.edit()
		for range 1 + r.IntN(60) {
			k := fmt.Sprintf("%05d", r.IntN(3000))
			if r.IntN(5) < 2 {
				if _, want := model[k]; e.remove(k) != want {
					t.Fatalf("remove %s: want %t", k, want)
				}
				delete(model, k)
			} else {
				v := r.Int()
				e.set(k, v)
				model[k] = v
			}
		}
		now = e.done()
		if round%20 == 0 {
			old = append(old, version{now, maps.Clone(model)})
		}
		check(t, &now, model)
	}
	for k := range model {
		e := now.edit()
		e.remove(k)
		now = e.done()
	}
	check(t, &now, nil)
	for _, v := range old {
		check(t, &v.tree, v.model)
	}
}

func check(t *testing.T, got *tree[int], model map[string]int) {
	t.Helper()
	want := slices.Sorted(maps.Keys(model))
	if !slices.Equal(keys(got), want) || got.size != len(want) {
		t.Fatalf("%d keys, size %d, want %d", len(keys(got)), got.size, len(want))
	}
	for k, v := range model {
		if have, ok := got.get(k); !ok || have != v {
			t.Fatalf("%s is %d, %t, want %d", k, have, ok, v)
		}
	}
	for _, l := range got.leaves {
		if len(l.entries) == 0 || len(l.entries) > leafSize {
			t.Fatalf("a leaf of %d", len(l.entries))
		}
	}
}

func TestTreePrefix(t *testing.T) {
	var now tree[int]
	e := now.edit()
	for i := range 1000 {
		e.set(fmt.Sprintf("%c/%04d", 'a'+i%3, i), i)
	}
	now = e.done()
	for p, want := range map[string]int{"a/": 334, "b/": 333, "c/": 333, "d/": 0, "": 1000, "a/0": 334, "a": 334} {
		if n := len(slices.Collect(now.prefix(p))); n != want {
			t.Errorf("%q: %d, want %d", p, n, want)
		}
	}
	for range now.prefix("a/") {
		break // stopping early is fine
	}
}

func BenchmarkTreeUpdateOf100k(b *testing.B) {
	var now tree[int]
	e := now.edit()
	for i := range 100_000 {
		e.set(fmt.Sprintf("namespace-%03d\x00pod-%06d", i%100, i), i)
	}
	now = e.done()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := now.edit()
		e.set(fmt.Sprintf("namespace-%03d\x00pod-%06d", i%100, i%100_000), i)
		now = e.done()
	}
}
