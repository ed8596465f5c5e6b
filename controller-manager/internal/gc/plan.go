package gc

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Plan is what to do about one object.
type Plan struct {
	// Find are owners to look for at the server: they were never seen.
	Find []metav1.OwnerReference
	// Delete the object with this propagation; empty is not.
	Delete metav1.DeletionPropagation
	// Unown takes these owners' references away.
	Unown []types.UID
	// Unblock makes the object's references block no owner, before Delete:
	// in a circle each would wait for the other.
	Unblock bool
	// Finish removes the foreground finalizer: all dependents are gone.
	Finish bool
	// Orphan takes the object's reference from its dependents, and then the
	// orphan finalizer from it.
	Orphan []*node
	Free   bool
	// Look at these as well.
	Look []types.UID
	// Invalid references are told about in an event.
	Invalid []metav1.OwnerReference
}

func (p Plan) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, r := range p.Find {
		line("find %s %s", r.Kind, r.Name)
	}
	for _, r := range p.Invalid {
		line("invalid %s %s", r.Kind, r.Name)
	}
	for _, d := range p.Orphan {
		line("orphan %s", d.name)
	}
	if p.Free {
		line("remove finalizer orphan")
	}
	for _, u := range p.Unown {
		line("unown %s", u)
	}
	if p.Unblock {
		line("unblock")
	}
	if p.Delete != "" {
		line("delete %s", p.Delete)
	}
	if p.Finish {
		line("remove finalizer foregroundDeletion")
	}
	for _, u := range p.Look {
		line("look %s", u)
	}
	return b.String()
}

// kinds says of an owner reference's kind whether it is namespaced; ok is
// false for kinds that nobody knows.
type kinds func(apiVersion, kind string) (namespaced, ok bool)

// plan decides about one object.
func (g *graph) plan(uid types.UID, known kinds) Plan {
	n := g.nodes[uid]
	if n == nil || n.virtual {
		return Plan{}
	}
	switch {
	case n.deleting && n.orphan:
		p := Plan{Free: true}
		for d := range n.dependents {
			p.Orphan = append(p.Orphan, d)
		}
		sortNodes(p.Orphan)
		return p
	case n.waiting():
		return finishing(n)
	case n.deleting:
		return Plan{} // somebody else's finalizers, or its grace period
	}
	return g.judge(n, known)
}

// finishing looks after an object that waits for its dependents.
func finishing(n *node) Plan {
	var p Plan
	for _, d := range n.blocking() {
		if !d.waiting() {
			p.Look = append(p.Look, d.uid)
		}
	}
	p.Finish = len(n.blocking()) == 0
	return p
}

// state of an owner, as far as a dependent is concerned.
type state int

const (
	solid state = iota
	absent
	waiting
	unseen
	unresolvable
)

// judge decides whether an object still has a reason to be.
func (g *graph) judge(n *node, known kinds) Plan {
	var p Plan
	var lost, leaving []types.UID
	kept := 0
	for i := range n.owners {
		ref := &n.owners[i]
		s, invalid := g.stateOf(n, ref, known)
		if invalid {
			p.Invalid = append(p.Invalid, *ref)
		}
		switch s {
		case unseen:
			p.Find = append(p.Find, *ref)
			kept++
		case absent:
			lost = append(lost, ref.UID)
		case waiting:
			leaving = append(leaving, ref.UID)
		default:
			kept++
		}
	}
	switch {
	case len(n.owners) == 0 || len(p.Find) > 0:
	case kept > 0:
		// It stays for the others' sake and forgets those.
		p.Unown = append(lost, leaving...)
	case len(leaving) > 0 && len(n.dependents) > 0:
		for d := range n.dependents {
			p.Unblock = p.Unblock || d.waiting()
		}
		p.Delete = metav1.DeletePropagationForeground
	case n.orphan:
		p.Delete = metav1.DeletePropagationOrphan
	case n.foreground:
		p.Delete = metav1.DeletePropagationForeground
	default:
		p.Delete = metav1.DeletePropagationBackground
	}
	return p
}

// stateOf an owner. What was seen is believed: changes come in order, and the
// deletion that follows will be seen too.
func (g *graph) stateOf(n *node, ref *metav1.OwnerReference, known kinds) (s state, invalid bool) {
	namespaced, ok := known(ref.APIVersion, ref.Kind)
	if ok && namespaced && n.namespace == "" {
		return unresolvable, true // may be anywhere: never collected
	}
	o := g.nodes[ref.UID]
	switch {
	case o != nil && !o.virtual && coordinates(o, ref, n):
		if o.waiting() {
			return waiting, false
		}
		return solid, false
	case o != nil && !o.virtual && o.name == ref.Name && o.resource.Kind == ref.Kind:
		return absent, true // it is there, in another namespace
	case g.gone.has(ref.UID) || g.missing.has(referenceOf(ref, n.namespace)):
		return absent, false
	case !ok:
		return unresolvable, false
	}
	return unseen, false
}
