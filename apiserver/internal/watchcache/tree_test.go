package watchcache

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"xebec.dev/apiserver/internal/storage"
)

func object(ns, name string) *storage.Object {
	return &storage.Object{Namespace: ns, Name: name, Fields: []string{ns}}
}

// check verifies a tree's invariants and contents against a sorted list.
func check(t *testing.T, tr tree, want []*storage.Object) {
	t.Helper()
	var got []*storage.Object
	tr.ascend(key{}, func(o *storage.Object) bool { got = append(got, o); return true })
	if !slices.Equal(got, want) {
		t.Fatalf("the tree has %d items, want %d, or in another order", len(got), len(want))
	}
	if tr.len() != len(want) {
		t.Fatalf("len is %d, want %d", tr.len(), len(want))
	}
	depth := -1
	var walk func(n *node, d int, root bool)
	walk = func(n *node, d int, root bool) {
		if n.kids == nil {
			if depth >= 0 && depth != d {
				t.Fatal("leaves at different depths")
			}
			depth = d
		} else if len(n.kids) != len(n.items)+1 {
			t.Fatalf("%d kids for %d items", len(n.kids), len(n.items))
		}
		if len(n.items) > maxItems {
			t.Fatalf("%d items in a node", len(n.items))
		}
		count := len(n.items)
		for _, kid := range n.kids {
			walk(kid, d+1, false)
			count += kid.count
		}
		if count != n.count {
			t.Fatalf("count is %d, want %d", n.count, count)
		}
	}
	if tr.root != nil {
		walk(tr.root, 0, true)
	}
	for i := 0; i < len(want); i += 1 + len(want)/50 {
		o := want[i]
		if tr.get(tr.key(o)) != o {
			t.Fatalf("get %s/%s failed", o.Namespace, o.Name)
		}
		if r := tr.rank(tr.key(o)); r != i {
			t.Fatalf("rank is %d, want %d", r, i)
		}
	}
}

func sorted(m map[string]*storage.Object) []*storage.Object {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys) // the order of etcd's keys
	var s []*storage.Object
	for _, k := range keys {
		s = append(s, m[k])
	}
	return s
}

func TestTreeAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	namespaces := []string{"a", "a-b", "ab", "a.b", "a0", "b", "ba"}
	m := map[string]*storage.Object{}
	tr := tree{field: -1}
	type version struct {
		tree tree
		want []*storage.Object
	}
	var old []version
	for round := range 300 {
		w := new(owner)
		grow := round%100 < 60
		for range rnd.Intn(60) {
			o := object(namespaces[rnd.Intn(len(namespaces))], fmt.Sprintf("n%d", rnd.Intn(800)))
			k := path(o.Namespace, o.Name)
			if (rnd.Intn(3) > 0) == grow {
				m[k] = o
				tr = tr.put(w, o)
			} else {
				delete(m, k)
				tr = tr.remove(w, tr.key(o))
			}
		}
		check(t, tr, sorted(m))
		if round%20 == 0 {
			old = append(old, version{tr, sorted(m)})
		}
	}
	for _, v := range old {
		check(t, v.tree, v.want)
	}
	for _, o := range sorted(m) {
		tr = tr.remove(new(owner), tr.key(o))
	}
	check(t, tr, nil)
}

func TestTreeBuild(t *testing.T) {
	for _, n := range []int{0, 1, 2, 47, 48, 49, 50, 64, 65, 97, 98, 99, 113, 2000, 2400, 2401, 2410, 50000} {
		var objects []*storage.Object
		for i := range n {
			objects = append(objects, object("ns", fmt.Sprintf("n%06d", i)))
		}
		tr := build(objects, -1)
		check(t, tr, objects)
		if n > 3 {
			mid := objects[n/2]
			check(t, tr.remove(new(owner), tr.key(mid)), append(slices.Clone(objects[:n/2]), objects[n/2+1:]...))
		}
	}
}

func TestPathOrder(t *testing.T) {
	paths := [][2]string{{"a", "x"}, {"a-b", "x"}, {"a.b", "x"}, {"ab", "x"}, {"a", "y"}, {"", "a"}, {"", "a-b/c"}, {"", "b\x00"}, {"b", ""}, {"b", "x\x00"}, {"b", "x"}}
	for _, p := range paths {
		for _, q := range paths {
			a, b := path(p[0], p[1]), path(q[0], q[1])
			got := comparePaths(p[0], p[1], q[0], q[1])
			want := 0
			if a < b {
				want = -1
			} else if a > b {
				want = 1
			}
			if (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("compare %q %q is %d, want %d", a, b, got, want)
			}
		}
	}
}
