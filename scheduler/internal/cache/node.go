package cache

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Node is one row of the columns, with what does not fit in numbers.
type Node struct {
	Index int32
	Name  string
	// Obj is nil while only pods tell of the node.
	Obj  *corev1.Node
	Pods []*Pod
	// Gen moves with every change, Static with those of the object alone.
	Gen, Static uint64
	// Nominated are pods that wait for room here.
	Nominated []*Pod

	ports map[Port]int
	// withVolumes counts pods whose volumes matter to scheduling.
	withVolumes int
	images      []*Image
}

// Port is a host port in use.
type Port struct {
	IP       string
	Protocol corev1.Protocol
	Port     int32
}

const anyIP = "0.0.0.0"

// PortTaken reports whether a host port is in use on the node: all addresses
// conflict with each.
func (n *Node) PortTaken(p Port) bool {
	if len(n.ports) == 0 {
		return false
	}
	if p.IP != anyIP {
		return n.ports[p] > 0 || n.ports[Port{anyIP, p.Protocol, p.Port}] > 0
	}
	for have := range n.ports {
		if have.Protocol == p.Protocol && have.Port == p.Port {
			return true
		}
	}
	return false
}

// HasVolumePods reports whether a pod here has volumes that matter.
func (n *Node) HasVolumePods() bool { return n.withVolumes > 0 }

// Image is one that some node has.
type Image struct {
	Name  string
	Size  int64
	Nodes int // that have it
}

// Image finds an image by name, nil when no node has it.
func (c *Cluster) Image(name string) *Image { return c.images[name] }

// HasImage reports whether a node has an image.
func (n *Node) HasImage(i *Image) bool { return slices.Contains(n.images, i) }

// place finds or makes the row of a node.
func (c *Cluster) place(name string) *Node {
	if n := c.byName[name]; n != nil {
		return n
	}
	n := &Node{Name: name, ports: map[Port]int{}}
	if last := len(c.free) - 1; last >= 0 {
		n.Index, c.free = c.free[last], c.free[:last]
		c.nodes[n.Index] = n
	} else {
		n.Index = int32(len(c.nodes))
		c.nodes = append(c.nodes, n)
		c.grow()
	}
	c.byName[name] = n
	return n
}

// grow makes room for one more node in every column.
func (c *Cluster) grow() {
	for r := range c.Allocatable {
		c.Allocatable[r] = append(c.Allocatable[r], 0)
		c.Used[r] = append(c.Used[r], 0)
	}
	for i := range c.UsedNonzero {
		c.UsedNonzero[i] = append(c.UsedNonzero[i], 0)
	}
	for _, k := range c.counters {
		k.Count = append(k.Count, 0)
	}
	for _, o := range c.owners {
		o.Count = append(o.Count, 0)
	}
	for _, t := range c.topologies {
		t.Domain = append(t.Domain, -1)
	}
}

// SetNode takes a new or changed node.
func (c *Cluster) SetNode(obj *corev1.Node) *Node {
	for name := range obj.Status.Allocatable {
		c.Resource(name)
	}
	n := c.place(obj.Name)
	if n.Obj == nil {
		c.known++
	}
	c.setImages(n, obj)
	n.Obj = obj
	for r := range c.Allocatable {
		c.Allocatable[r][n.Index] = 0
	}
	for name, q := range obj.Status.Allocatable {
		r := c.of(name)
		c.Allocatable[r][n.Index] = value(r, q)
	}
	for _, t := range c.topologies {
		c.move(t, n)
		c.forgetDomains(t)
	}
	n.Static = c.generation()
	c.touch(n)
	return n
}

// forgetDomains numbers the domains of a key anew once most are of nodes that
// are gone.
func (c *Cluster) forgetDomains(t *Topology) {
	if len(t.nodes) < c.limits+2*len(c.nodes) {
		return
	}
	t.Names, t.index, t.nodes, t.multi = nil, map[string]int32{}, nil, 0
	for i := range t.Domain {
		t.Domain[i] = -1
	}
	for _, n := range c.nodes {
		if n != nil {
			t.set(n)
		}
	}
	t.single = t.multi == 0
	c.Era++
}

// RemoveNode forgets a node; its pods stay until they are removed.
func (c *Cluster) RemoveNode(name string) {
	n := c.byName[name]
	if n == nil || n.Obj == nil {
		return
	}
	c.setImages(n, &corev1.Node{})
	n.Obj = nil
	c.known--
	for r := range c.Allocatable {
		c.Allocatable[r][n.Index] = 0
	}
	for _, t := range c.topologies {
		c.move(t, n)
	}
	n.Static = c.generation()
	c.touch(n)
	c.vacate(n)
}

// vacate frees the row of a node that nothing tells of any more. Readers of
// the log look at the index once more and find nobody.
func (c *Cluster) vacate(n *Node) {
	if n.Obj != nil || len(n.Pods) > 0 || len(n.Nominated) > 0 {
		return
	}
	c.touch(n)
	c.nodes[n.Index] = nil
	delete(c.byName, n.Name)
	c.free = append(c.free, n.Index)
}

func (c *Cluster) setImages(n *Node, obj *corev1.Node) {
	for _, i := range n.images {
		if i.Nodes--; i.Nodes == 0 {
			delete(c.images, i.Name)
		}
	}
	n.images = nil
	for _, have := range obj.Status.Images {
		for _, name := range have.Names {
			i := c.images[name]
			if i == nil {
				i = &Image{Name: name}
				c.images[name] = i
			}
			if slices.Contains(n.images, i) {
				continue
			}
			i.Size = have.SizeBytes
			i.Nodes++
			n.images = append(n.images, i)
		}
	}
}

// Topology is a label key of nodes, as a column of domains.
type Topology struct {
	Key string
	// Domain by node index; -1 where the label is missing.
	Domain []int32
	// Names of the domains.
	Names []string

	index map[string]int32
	nodes []int32 // nodes by domain
	multi int     // domains with more than one node
	// single is whether each domain is one node: then what a domain counts is
	// a matter of its node. It changes with an Era.
	single bool
}

// Topology finds or makes the column of a key.
func (c *Cluster) Topology(key string) *Topology {
	if t := c.topologies[key]; t != nil {
		return t
	}
	t := &Topology{Key: key, Domain: make([]int32, len(c.nodes)), index: map[string]int32{}, single: true}
	for i := range t.Domain {
		t.Domain[i] = -1
	}
	for _, n := range c.nodes {
		if n != nil {
			t.set(n)
		}
	}
	t.single = t.multi == 0
	c.topologies[key] = t
	return t
}

// Single reports whether each domain is one node.
func (t *Topology) Single() bool { return t.single }

// Domains is how many values the key has or had.
func (t *Topology) Domains() int { return len(t.nodes) }

// move puts a node where its labels say. When keys turn out to group nodes
// after all, or no longer, what was remembered by them is void.
func (c *Cluster) move(t *Topology, n *Node) {
	t.set(n)
	if single := t.multi == 0; single != t.single {
		// Back to single only when that is likely to last.
		if single && len(t.nodes) < 2 {
			return
		}
		t.single = single
		c.Era++
	}
}

func (t *Topology) set(n *Node) {
	now := int32(-1)
	if n.Obj != nil {
		if v, ok := n.Obj.Labels[t.Key]; ok {
			now = t.domain(v)
		}
	}
	was := t.Domain[n.Index]
	if was == now {
		return
	}
	if was >= 0 {
		if t.nodes[was]--; t.nodes[was] == 1 {
			t.multi--
		}
	}
	if now >= 0 {
		if t.nodes[now]++; t.nodes[now] == 2 {
			t.multi++
		}
	}
	t.Domain[n.Index] = now
}

func (t *Topology) domain(value string) int32 {
	d, ok := t.index[value]
	if !ok {
		d = int32(len(t.nodes))
		t.index[value] = d
		t.Names = append(t.Names, value)
		t.nodes = append(t.nodes, 0)
	}
	return d
}
