// Package cache is the scheduler's picture of the cluster: nodes as columns,
// pods by node, and counters of pods by selector and node, all kept up to date
// by differences.
//
// A Cluster has one owner, the goroutine that schedules; nothing here locks.
// Whatever changes a node appends it to a log, so that readers which remember
// where they were look at changed nodes only.
package cache

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is nodes, the pods placed on them, and what counts them.
type Cluster struct {
	resources

	// Allocatable and Used by resource, then by node index.
	Allocatable, Used [][]int64
	// UsedNonzero is Used of CPU and Memory with unstated requests counted.
	UsedNonzero [2][]int64

	// Era moves when everything remembered about nodes and pods is void:
	// label sets or the meaning of topology keys have changed.
	Era int

	nodes  []*Node // by index; nil where a node was
	free   []int32
	byName map[string]*Node
	known  int // nodes whose object is there

	pods       map[types.UID]*Pod
	shapes     map[string]*Shape
	labelSets  map[string]*LabelSet
	asked      map[string]bool
	counters   map[string]*Counter
	owners     []*OwnerTerm // by ID, ascending
	ownerByKey map[string]*OwnerTerm
	topologies map[string]*Topology
	images     map[string]*Image
	namespaces map[string]map[string]string
	claims     map[types.NamespacedName]int
	waited     map[*Node]bool

	log         []int32
	logBase     int
	lastID      int
	lastGen     uint64
	scratch     []byte
	relabelling bool

	lifted int // pods that are off their node for a while
	// limits is how many things nobody uses may be remembered, of each sort.
	limits, ownersLimit int

	quiet int // above 0 nothing counts as changed: see Lift
}

// New makes an empty cluster.
func New() *Cluster {
	c := &Cluster{
		resources: newResources(), byName: map[string]*Node{}, pods: map[types.UID]*Pod{}, shapes: map[string]*Shape{},
		labelSets: map[string]*LabelSet{}, asked: map[string]bool{}, counters: map[string]*Counter{},
		limits: defaultLimits, ownersLimit: defaultLimits, ownerByKey: map[string]*OwnerTerm{}, topologies: map[string]*Topology{}, images: map[string]*Image{},
		namespaces: map[string]map[string]string{}, claims: map[types.NamespacedName]int{}, waited: map[*Node]bool{},
	}
	for _, name := range c.names {
		c.Resource(name) // pods may come before nodes
	}
	return c
}

// generation numbers are never used twice, not even by nodes that follow each
// other at an index.
func (c *Cluster) generation() uint64 { c.lastGen++; return c.lastGen }

const defaultLimits = 1024

func (c *Cluster) nextID() int { c.lastID++; return c.lastID }

// ResourceName is a column's name.
func (c *Cluster) ResourceName(r Resource) corev1.ResourceName { return c.names[r] }

// Resource finds or makes the column of a resource.
func (c *Cluster) Resource(name corev1.ResourceName) Resource {
	r := c.of(name)
	for len(c.Allocatable) <= int(r) {
		c.Allocatable = append(c.Allocatable, make([]int64, len(c.nodes)))
		c.Used = append(c.Used, make([]int64, len(c.nodes)))
	}
	return r
}

// Size is the number of node indexes; some may be vacant.
func (c *Cluster) Size() int { return len(c.nodes) }

// Len is the number of nodes.
func (c *Cluster) Len() int { return c.known }

// At is the node at an index, nil when there is none.
func (c *Cluster) At(i int32) *Node {
	n := c.nodes[i]
	if n == nil || n.Obj == nil {
		return nil
	}
	return n
}

// Node finds a node by name.
func (c *Cluster) Node(name string) *Node {
	n := c.byName[name]
	if n == nil || n.Obj == nil {
		return nil
	}
	return n
}

// Nodes visits all nodes by index.
func (c *Cluster) Nodes(yield func(*Node) bool) {
	for _, n := range c.nodes {
		if n != nil && n.Obj != nil && !yield(n) {
			return
		}
	}
}

// Touched is the position in the log of changes.
func (c *Cluster) Touched() int { return c.logBase + len(c.log) }

// Since is the nodes changed after a position, some more than once; ok is
// false when the log no longer goes back that far.
func (c *Cluster) Since(position int) (changed []int32, ok bool) {
	if position < c.logBase {
		return nil, false
	}
	return c.log[position-c.logBase:], true
}

// touch notes that a node has changed.
func (c *Cluster) touch(n *Node) {
	if c.quiet > 0 {
		return
	}
	n.Gen = c.generation()
	if limit := 2*len(c.nodes) + 4096; len(c.log) >= limit {
		drop := len(c.log) / 2
		c.log = append(c.log[:0], c.log[drop:]...)
		c.logBase += drop
	}
	c.log = append(c.log, n.Index)
}

// SetNamespace tells a namespace's labels, which selectors of namespaces ask
// about.
func (c *Cluster) SetNamespace(name string, labels map[string]string) {
	if have, ok := c.namespaces[name]; ok && maps.Equal(have, labels) {
		return
	}
	_, known := c.namespaces[name]
	c.namespaces[name] = labels
	if len(labels) > 0 || known {
		c.namespaceChanged()
	}
}

// RemoveNamespace forgets a namespace.
func (c *Cluster) RemoveNamespace(name string) {
	if _, ok := c.namespaces[name]; !ok {
		return
	}
	delete(c.namespaces, name)
	c.namespaceChanged()
}

func (c *Cluster) namespaceChanged() {
	byLabels := false
	for _, k := range c.counters {
		byLabels = byLabels || slices.ContainsFunc(k.terms, func(t Term) bool { return t.NamespaceSelector != nil })
	}
	for _, o := range c.owners {
		byLabels = byLabels || o.Term.NamespaceSelector != nil
	}
	if byLabels {
		c.relabel()
	}
}

// ClaimUsers is how many placed pods use a claim.
func (c *Cluster) ClaimUsers(namespace, name string) int {
	return c.claims[types.NamespacedName{Namespace: namespace, Name: name}]
}

// Remember sets how many things nobody uses may be remembered, of each sort:
// small numbers are for tests.
func (c *Cluster) Remember(limits int) { c.limits, c.ownersLimit = limits, limits }
