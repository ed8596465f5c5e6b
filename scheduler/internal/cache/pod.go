package cache

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pod is one version of a pod with what scheduling derives from it.
type Pod struct {
	UID         types.UID
	Obj         *corev1.Pod
	Shape       *Shape
	Terminating bool
	// Evicted: its deletion has been asked for, to make room.
	Evicted bool

	era      int
	labels   *LabelSet
	node     int32 // -1 while not placed
	nodePos  int
	labelPos int
}

// NewPod derives what scheduling needs. The object is kept and not changed.
func (c *Cluster) NewPod(obj *corev1.Pod) *Pod {
	return &Pod{UID: obj.UID, Obj: obj, Shape: c.shape(obj), Terminating: obj.DeletionTimestamp != nil, node: -1, era: -1}
}

// Key is the pod's namespace and name.
func (p *Pod) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Obj.Namespace, Name: p.Obj.Name}
}

// Priority of the pod; 0 when it has none.
func (p *Pod) Priority() int32 { return p.Shape.Priority }

// Started is when the pod began to run; those that have not are the newest.
func (p *Pod) Started(now time.Time) time.Time {
	if t := p.Obj.Status.StartTime; t != nil {
		return t.Time
	}
	return now
}

// LabelsOf is the pod's label set as of now.
func (c *Cluster) LabelsOf(p *Pod) *LabelSet {
	if p.labels == nil || p.node < 0 && p.era != c.Era {
		p.labels = c.labelSet(p.Obj.Namespace, p.Obj.Labels)
		p.era = c.Era
	}
	return p.labels
}

// Placed finds a placed pod.
func (c *Cluster) Placed(uid types.UID) *Pod { return c.pods[uid] }

// NodeOf is the node a pod is placed on, "" when on none.
func (c *Cluster) NodeOf(p *Pod) string {
	if p.node < 0 {
		return ""
	}
	return c.nodes[p.node].Name
}

// AllPlaced visits all placed pods, in no order.
func (c *Cluster) AllPlaced(yield func(*Pod) bool) {
	for _, p := range c.pods {
		if !yield(p) {
			return
		}
	}
}

// PlacedLen is the number of placed pods.
func (c *Cluster) PlacedLen() int { return len(c.pods) }

// Update takes a new version of a placed pod. A version that changes nothing
// scheduling looks at is no change of the node.
func (c *Cluster) Update(p *Pod, node string) {
	old := c.pods[p.UID]
	if old == nil || c.nodes[old.node].Name != node || old.Shape != p.Shape || old.Terminating != p.Terminating || p.Shape.Volumes || c.labelSet(p.Obj.Namespace, p.Obj.Labels) != old.labels {
		c.Place(p, node)
		return
	}
	old.Obj = p.Obj
}

// Place puts a pod on a node, in place of an earlier version of it.
func (c *Cluster) Place(p *Pod, node string) {
	if old := c.pods[p.UID]; old != nil {
		p.Evicted = p.Evicted || old.Evicted
		c.Remove(old)
	}
	c.own(p.Shape)
	c.LabelsOf(p)
	n := c.place(node)
	c.pods[p.UID] = p
	c.enter(p, n)
}

// Remove takes a placed pod off its node.
func (c *Cluster) Remove(p *Pod) {
	n := c.nodes[p.node]
	c.leave(p, n)
	delete(c.pods, p.UID)
	c.vacate(n)
}

// With runs f as if pods, not placed so far, were on the node.
func (c *Cluster) With(pods []*Pod, n *Node, f func()) {
	c.lifted++ // nothing is forgotten meanwhile
	for _, p := range pods {
		c.own(p.Shape) // may sort all pods into new label sets
	}
	c.lifted--
	c.quiet++
	defer func() { c.quiet-- }()
	for _, p := range pods {
		c.LabelsOf(p)
		c.enter(p, n)
	}
	f()
	for _, p := range slices.Backward(pods) {
		c.leave(p, n)
	}
}

// Lift takes a pod off its node for a while, and Lower puts it back. Between
// the two nothing else may change; the node does not count as changed.
func (c *Cluster) Lift(p *Pod) *Node {
	n := c.nodes[p.node]
	c.quiet++
	c.lifted++
	c.leave(p, n)
	c.quiet--
	return n
}

// Lower is the end of Lift.
func (c *Cluster) Lower(p *Pod, n *Node) {
	c.quiet++
	c.lifted--
	c.enter(p, n)
	c.quiet--
}

func (c *Cluster) enter(p *Pod, n *Node) {
	p.node, p.nodePos = n.Index, len(n.Pods)
	n.Pods = append(n.Pods, p)
	p.labels.enter(p)
	c.count(p, n, 1)
}

func (c *Cluster) leave(p *Pod, n *Node) {
	c.count(p, n, -1)
	p.labels.leave(p)
	last := len(n.Pods) - 1
	n.Pods[p.nodePos] = n.Pods[last]
	n.Pods[p.nodePos].nodePos = p.nodePos
	n.Pods = n.Pods[:last]
	p.node = -1
}

// count adds a pod to every column and counter of a node, or takes it out.
func (c *Cluster) count(p *Pod, n *Node, by int64) {
	s := p.Shape
	for _, a := range s.Requests {
		c.Used[a.Resource][n.Index] += by * a.Value
	}
	c.Used[Pods][n.Index] += by
	c.UsedNonzero[0][n.Index] += by * s.Nonzero[0]
	c.UsedNonzero[1][n.Index] += by * s.Nonzero[1]
	for _, port := range s.Ports {
		if n.ports[port] += int(by); n.ports[port] == 0 {
			delete(n.ports, port)
		}
	}
	for _, k := range p.labels.counters {
		k.add(p, int32(by))
	}
	for _, o := range s.owned {
		o.Count[n.Index] += int32(by)
		o.Total += int(by)
	}
	if s.Volumes {
		n.withVolumes += int(by)
		for i := range p.Obj.Spec.Volumes {
			if name := ClaimName(p.Obj, &p.Obj.Spec.Volumes[i]); name != "" {
				key := types.NamespacedName{Namespace: p.Obj.Namespace, Name: name}
				if c.claims[key] += int(by); c.claims[key] == 0 {
					delete(c.claims, key)
				}
			}
		}
	}
	c.touch(n)
}

// ClaimName is the claim behind a volume, "" when there is none.
func ClaimName(p *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

// Nominate lets a pod that is not placed wait for room on a node.
func (c *Cluster) Nominate(p *Pod, node string) {
	c.own(p.Shape)
	n := c.place(node)
	n.Nominated = append(n.Nominated, p)
	c.waited[n] = true
	c.touch(n)
}

// Waited visits the nodes that pods are nominated to.
func (c *Cluster) Waited(yield func(*Node) bool) {
	for n := range c.waited {
		if n.Obj != nil && !yield(n) {
			return
		}
	}
}

// Withdraw ends a nomination.
func (c *Cluster) Withdraw(p *Pod, node string) {
	n := c.byName[node]
	if n == nil {
		return
	}
	if i := slices.IndexFunc(n.Nominated, func(o *Pod) bool { return o.UID == p.UID }); i >= 0 {
		if n.Nominated = slices.Delete(n.Nominated, i, i+1); len(n.Nominated) == 0 {
			delete(c.waited, n)
		}
		c.touch(n)
		c.vacate(n)
	}
}
