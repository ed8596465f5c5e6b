package watchcache

import (
	"slices"
	"strings"

	"xebec.dev/apiserver/internal/storage"
)

// key orders objects: by the indexed field, if the tree has one, then as etcd
// orders them.
type key struct {
	field, namespace, name string
}

func (a key) compare(b key) int {
	if c := strings.Compare(a.field, b.field); c != 0 {
		return c
	}
	return comparePaths(a.namespace, a.name, b.namespace, b.name)
}

// comparePaths orders by NAMESPACE/NAME as bytes, which is etcd's order: "a-b/x"
// comes before "a/x", because the hyphen is less than the slash.
func comparePaths(ns1, name1, ns2, name2 string) int {
	if ns1 == ns2 {
		return strings.Compare(name1, name2)
	}
	if ns1 == "" || ns2 == "" {
		return strings.Compare(path(ns1, name1), path(ns2, name2))
	}
	n := min(len(ns1), len(ns2))
	if c := strings.Compare(ns1[:n], ns2[:n]); c != 0 {
		return c
	}
	if len(ns1) > n {
		return int(ns1[n]) - '/'
	}
	return '/' - int(ns2[n])
}

// path is an object's key below the resource's prefix.
func path(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

const maxItems = 64

// tree is an ordered set of objects: a persistent B-tree. A tree is a value;
// changing one leaves its copies as they were, and they share what is equal.
// Nodes know their size, so that ranks cost no more than lookups.
type tree struct {
	root *node
	// field is the index into Object.Fields to order by; -1 for none.
	field int
}

type node struct {
	// owner marks nodes that were made during one batch of changes and may
	// be changed in place until it is published.
	owner *owner
	count int
	items []*storage.Object
	kids  []*node // nil in leaves; one more than items otherwise
}

type owner struct{ _ byte }

func (t tree) key(o *storage.Object) key {
	k := key{namespace: o.Namespace, name: o.Name}
	if t.field >= 0 {
		k.field = o.Fields[t.field]
	}
	return k
}

func (t tree) len() int {
	if t.root == nil {
		return 0
	}
	return t.root.count
}

// find is the place of the first item that is not less than k.
func (t tree) find(items []*storage.Object, k key) (int, bool) {
	lo, hi := 0, len(items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := t.key(items[mid]).compare(k); {
		case c < 0:
			lo = mid + 1
		case c > 0:
			hi = mid
		default:
			return mid, true
		}
	}
	return lo, false
}

func (t tree) get(k key) *storage.Object {
	for n := t.root; n != nil; {
		i, found := t.find(n.items, k)
		if found {
			return n.items[i]
		}
		if n.kids == nil {
			return nil
		}
		n = n.kids[i]
	}
	return nil
}

// rank is the number of items less than k.
func (t tree) rank(k key) int {
	rank := 0
	for n := t.root; n != nil; {
		i, found := t.find(n.items, k)
		rank += i
		if n.kids == nil {
			return rank
		}
		for _, kid := range n.kids[:i] {
			rank += kid.count
		}
		if found {
			return rank + n.kids[i].count
		}
		n = n.kids[i]
	}
	return rank
}

// ascend visits the items from k on until visit returns false.
func (t tree) ascend(k key, visit func(*storage.Object) bool) {
	if t.root != nil {
		t.ascendFrom(t.root, k, visit)
	}
}

func (t tree) ascendFrom(n *node, k key, visit func(*storage.Object) bool) bool {
	i, found := t.find(n.items, k)
	if n.kids != nil && !found && !t.ascendFrom(n.kids[i], k, visit) {
		return false
	}
	for ; i < len(n.items); i++ {
		if !visit(n.items[i]) {
			return false
		}
		if n.kids != nil && !n.kids[i+1].all(visit) {
			return false
		}
	}
	return true
}

func (n *node) all(visit func(*storage.Object) bool) bool {
	for i, o := range n.items {
		if n.kids != nil && !n.kids[i].all(visit) {
			return false
		}
		if !visit(o) {
			return false
		}
	}
	return n.kids == nil || n.kids[len(n.kids)-1].all(visit)
}

// mutable is the node itself if w owns it, or a copy that w owns.
func (n *node) mutable(w *owner) *node {
	if n.owner == w {
		return n
	}
	c := &node{owner: w, count: n.count}
	c.items = append(make([]*storage.Object, 0, len(n.items)+1), n.items...)
	if n.kids != nil {
		c.kids = append(make([]*node, 0, len(n.kids)+1), n.kids...)
	}
	return c
}

// put adds an object or replaces the one with its key.
func (t tree) put(w *owner, o *storage.Object) tree {
	if t.root == nil {
		t.root = &node{owner: w, count: 1, items: []*storage.Object{o}}
		return t
	}
	root, up, right, _ := t.insert(w, t.root, o)
	if right != nil {
		root = &node{owner: w, count: root.count + right.count + 1, items: []*storage.Object{up}, kids: []*node{root, right}}
	}
	t.root = root
	return t
}

// insert puts o below n. If n overflows, it splits: up is the item between n
// and right.
func (t tree) insert(w *owner, n *node, o *storage.Object) (m *node, up *storage.Object, right *node, added bool) {
	m = n.mutable(w)
	i, found := t.find(m.items, t.key(o))
	switch {
	case found:
		m.items[i] = o
		return m, nil, nil, false
	case m.kids == nil:
		m.items = slices.Insert(m.items, i, o)
		added = true
	default:
		var kidUp *storage.Object
		var kidRight *node
		m.kids[i], kidUp, kidRight, added = t.insert(w, m.kids[i], o)
		if kidRight != nil {
			m.items = slices.Insert(m.items, i, kidUp)
			m.kids = slices.Insert(m.kids, i+1, kidRight)
		}
	}
	if added {
		m.count++
	}
	if len(m.items) > maxItems {
		up, right = m.split(w)
	}
	return m, up, right, added
}

func (n *node) split(w *owner) (*storage.Object, *node) {
	at := len(n.items) / 2
	up := n.items[at]
	right := &node{owner: w, items: slices.Clone(n.items[at+1:])}
	if n.kids != nil {
		right.kids = slices.Clone(n.kids[at+1:])
		clear(n.kids[at+1:])
		n.kids = n.kids[:at+1]
	}
	clear(n.items[at:])
	n.items = n.items[:at]
	n.recount()
	right.recount()
	return up, right
}

func (n *node) recount() {
	n.count = len(n.items)
	for _, kid := range n.kids {
		n.count += kid.count
	}
}

// remove takes the item with a key out, if it is there.
func (t tree) remove(w *owner, k key) tree {
	if t.get(k) == nil {
		return t
	}
	t.root = t.delete(w, t.root, k)
	if len(t.root.items) == 0 {
		if t.root.kids == nil {
			t.root = nil
		} else {
			t.root = t.root.kids[0]
		}
	}
	return t
}

// delete removes an item that is below n.
func (t tree) delete(w *owner, n *node, k key) *node {
	m := n.mutable(w)
	m.count--
	i, found := t.find(m.items, k)
	switch {
	case m.kids == nil:
		m.items = slices.Delete(m.items, i, i+1)
		return m
	case found:
		// The greatest item of the left kid takes its place.
		last := m.kids[i].last()
		m.items[i] = last
		m.kids[i] = t.delete(w, m.kids[i], t.key(last))
	default:
		m.kids[i] = t.delete(w, m.kids[i], k)
	}
	m.rebalance(w, i)
	return m
}

func (n *node) last() *storage.Object {
	for n.kids != nil {
		n = n.kids[len(n.kids)-1]
	}
	return n.items[len(n.items)-1]
}

// rebalance merges kid i with a neighbour when it has become small, and
// splits the result when that is too large.
func (n *node) rebalance(w *owner, i int) {
	if len(n.kids[i].items) >= maxItems/4 {
		return
	}
	if i == len(n.kids)-1 {
		i--
	}
	left, right := n.kids[i].mutable(w), n.kids[i+1]
	left.items = append(append(left.items, n.items[i]), right.items...)
	left.kids = append(left.kids, right.kids...)
	left.count += right.count + 1
	if len(left.items) > maxItems {
		n.items[i], n.kids[i+1] = left.split(w)
		n.kids[i] = left
		return
	}
	n.kids[i] = left
	n.items = slices.Delete(n.items, i, i+1)
	n.kids = slices.Delete(n.kids, i+1, i+2)
}

// build makes a tree of objects that are in order, without changing nodes
// over and over.
func build(objects []*storage.Object, field int) tree {
	t := tree{field: field}
	if len(objects) == 0 {
		return t
	}
	const fill = maxItems * 3 / 4
	var level []*node
	var between []*storage.Object
	for len(objects) > 0 {
		n := min(len(objects), fill)
		if rest := len(objects) - n; rest > 0 && rest <= maxItems/4 {
			n = len(objects) / 2 // no runt at the end
		}
		level = append(level, &node{count: n, items: slices.Clone(objects[:n])})
		objects = objects[n:]
		if len(objects) > 0 {
			between = append(between, objects[0])
			objects = objects[1:]
		}
	}
	for len(level) > 1 {
		level, between = parents(level, between, fill)
	}
	t.root = level[0]
	return t
}

// parents makes the level above: kids in groups, with the items between them.
func parents(level []*node, between []*storage.Object, fill int) (up []*node, over []*storage.Object) {
	for len(level) > 0 {
		n := min(len(level), fill)
		if rest := len(level) - n; rest > 0 && rest <= maxItems/4 {
			n = len(level) / 2
		}
		p := &node{kids: slices.Clone(level[:n]), items: slices.Clone(between[:n-1])}
		p.recount()
		up = append(up, p)
		level, between = level[n:], between[n-1:]
		if len(level) > 0 {
			over = append(over, between[0])
			between = between[1:]
		}
	}
	return up, over
}
