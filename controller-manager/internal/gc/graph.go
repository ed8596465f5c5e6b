// Package gc collects garbage: objects whose owners are gone, in the three
// ways of deleting an owner. A graph of all objects, by their owner references,
// is kept from metadata alone.
package gc

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/catalog"
)

// node is an object. One that was only heard of, as somebody's owner, is
// virtual until it is seen or found to be absent.
type node struct {
	uid             types.UID
	resource        *catalog.Resource // nil for a virtual node of an unknown kind
	namespace, name string
	revision        int64
	owners          []metav1.OwnerReference
	dependents      map[*node]struct{}
	// deleting objects have a deletion timestamp; foreground and orphan are
	// the finalizers that keep them for our sake.
	deleting, foreground, orphan bool
	virtual                      bool
}

// waiting reports whether the object waits for its dependents to go.
func (n *node) waiting() bool { return n.deleting && n.foreground }

// graph is the state machine: objects come in, and out come those that need a
// look. It has no clock and does no I/O; its owner guards it.
type graph struct {
	nodes map[types.UID]*node
	// gone are objects that were seen to be deleted: a uid never comes again.
	// missing are references that lead nowhere, looked for in vain; there may
	// be an object of the uid all the same, of another name or kind.
	gone    *recent[types.UID]
	missing *recent[reference]
	// look is told of objects whose owners, or dependents, have changed.
	look func(types.UID)
}

func newGraph(look func(types.UID)) *graph {
	return &graph{nodes: map[types.UID]*node{}, gone: newRecent[types.UID](), missing: newRecent[reference](), look: look}
}

// reference is what an owner reference says, and where it stands.
type reference struct {
	uid                          types.UID
	apiVersion, kind, name, from string
}

func referenceOf(ref *metav1.OwnerReference, namespace string) reference {
	return reference{uid: ref.UID, apiVersion: ref.APIVersion, kind: ref.Kind, name: ref.Name, from: namespace}
}

// observe notes an object as it is now.
func (g *graph) observe(r *catalog.Resource, m *metav1.PartialObjectMetadata) {
	n := g.nodes[m.UID]
	fresh := n == nil || n.virtual
	if n == nil {
		n = &node{uid: m.UID}
		g.nodes[m.UID] = n
	}
	wasVirtual := n.virtual
	wasWaiting, wasOrphaning := n.waiting(), n.deleting && n.orphan
	n.virtual, n.resource, n.namespace, n.name = false, r, m.Namespace, m.Name
	n.revision, _ = strconv.ParseInt(m.ResourceVersion, 10, 64) // the wire's own number
	n.deleting = m.DeletionTimestamp != nil
	n.foreground = slices.Contains(m.Finalizers, metav1.FinalizerDeleteDependents)
	n.orphan = slices.Contains(m.Finalizers, metav1.FinalizerOrphanDependents)
	g.reown(n, m.OwnerReferences, fresh)
	if wasVirtual { // references to it may turn out to be wrong
		for d := range n.dependents {
			g.look(d.uid)
		}
	}
	switch {
	case n.deleting && n.orphan && !wasOrphaning:
		g.look(n.uid)
	case n.waiting() && !wasWaiting:
		g.look(n.uid)
		for d := range n.dependents {
			g.look(d.uid)
		}
	}
}

// reown brings the edges of a node to its owner references.
func (g *graph) reown(n *node, refs []metav1.OwnerReference, fresh bool) {
	if !fresh && slices.EqualFunc(n.owners, refs, sameRef) {
		return
	}
	var before []types.UID
	for i := range n.owners {
		before = append(before, n.owners[i].UID)
		if o := g.nodes[n.owners[i].UID]; o != nil {
			delete(o.dependents, n)
			if o.waiting() {
				g.look(o.uid) // it may have waited for this one
			}
			g.drop(o)
		}
	}
	n.owners = slices.Clone(refs)
	doubtful := false
	for i := range n.owners {
		ref := &n.owners[i]
		o := g.nodes[ref.UID]
		if o == nil {
			o = &node{uid: ref.UID, virtual: true, name: ref.Name, namespace: n.namespace}
			g.nodes[ref.UID] = o
		}
		if o.dependents == nil {
			o.dependents = map[*node]struct{}{}
		}
		o.dependents[n] = struct{}{}
		if o.virtual || o.waiting() || !coordinates(o, ref, n) || !slices.Contains(before, ref.UID) && !fresh {
			doubtful = true
		}
	}
	if doubtful {
		g.look(n.uid)
	}
}

func sameRef(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && a.Kind == b.Kind && a.Name == b.Name && a.APIVersion == b.APIVersion && blocks(&a) == blocks(&b)
}

func blocks(r *metav1.OwnerReference) bool {
	return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion
}

// coordinates reports whether a reference names the object that has its uid:
// kind and name as they are, and a namespace that a dependent may refer to.
func coordinates(o *node, ref *metav1.OwnerReference, dependent *node) bool {
	return o.resource != nil && o.name == ref.Name && o.resource.Kind == ref.Kind && (o.namespace == "" || o.namespace == dependent.namespace)
}

// forget notes that an object is gone: its dependents have lost an owner, its
// owners a dependent they may have waited for.
func (g *graph) forget(uid types.UID) {
	g.gone.add(uid)
	n := g.nodes[uid]
	if n == nil {
		return
	}
	delete(g.nodes, uid)
	for i := range n.owners {
		if o := g.nodes[n.owners[i].UID]; o != nil {
			delete(o.dependents, n)
			if o.waiting() {
				g.look(o.uid)
			}
			g.drop(o)
		}
	}
	n.owners = nil
	delete(n.dependents, n) // it may have named itself
	if len(n.dependents) > 0 {
		// The edges stay with a node that stands for what is gone, so that the
		// dependents go on being known by it.
		g.nodes[uid] = &node{uid: uid, virtual: true, namespace: n.namespace, name: n.name, resource: n.resource, dependents: n.dependents}
		for d := range n.dependents {
			g.look(d.uid)
		}
	}
}

// drop removes a virtual node that nobody refers to any more.
func (g *graph) drop(o *node) {
	if o.virtual && len(o.dependents) == 0 {
		delete(g.nodes, o.uid)
	}
}

// blocking are the dependents that a waiting owner must outlive.
func (n *node) blocking() []*node {
	var out []*node
	for d := range n.dependents {
		for i := range d.owners {
			if d.owners[i].UID == n.uid && blocks(&d.owners[i]) {
				out = append(out, d)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b *node) int { return compareNames(a, b) })
	return out
}

func compareNames(a, b *node) int {
	if a.namespace != b.namespace {
		if a.namespace < b.namespace {
			return -1
		}
		return 1
	}
	switch {
	case a.name < b.name:
		return -1
	case a.name > b.name:
		return 1
	}
	return 0
}

// reference names a node for an event.
func (n *node) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: n.resource.APIVersion(), Kind: n.resource.Kind, Namespace: n.namespace, Name: n.name, UID: n.uid,
		ResourceVersion: strconv.FormatInt(n.revision, 10),
	}
}

// recent remembers the last so many.
type recent[K comparable] struct {
	set   map[K]struct{}
	order []K
	next  int
}

// maxRecent bounds what is remembered; what is forgotten is looked for again.
const maxRecent = 10000

func newRecent[K comparable]() *recent[K] { return &recent[K]{set: map[K]struct{}{}} }

func (r *recent[K]) has(k K) bool {
	_, ok := r.set[k]
	return ok
}

func (r *recent[K]) add(k K) {
	if r.has(k) {
		return
	}
	r.set[k] = struct{}{}
	if len(r.order) < maxRecent {
		r.order = append(r.order, k)
		return
	}
	delete(r.set, r.order[r.next])
	r.order[r.next] = k
	r.next = (r.next + 1) % maxRecent
}

func sortNodes(nodes []*node) { slices.SortFunc(nodes, compareNames) }
