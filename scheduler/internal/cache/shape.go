package cache

import (
	"encoding/binary"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Shape is what pods of one template have in common, as far as scheduling
// goes: everything but names, labels and volumes' claims.
type Shape struct {
	ID        int
	Namespace string
	Scheduler string
	Priority  int32
	// Preempts is false for preemptionPolicy Never.
	Preempts bool
	Requests []Amount // without Pods
	Nonzero  [2]int64 // CPU and Memory, unstated requests counted
	Ports    []Port
	// Volumes reports that some volume matters to scheduling.
	Volumes bool

	Affinity, AntiAffinity             []PodTerm // required
	PreferAffinity, PreferAntiAffinity []PodTerm

	owned []*OwnerTerm // while pods of the shape are placed
	key   string
}

// PodTerm is a term of (anti-)affinity to pods.
type PodTerm struct {
	Term
	Key    string // of the topology
	Weight int32  // of a preference
}

// Kind is what an existing pod's term does to a newcomer.
type Kind int8

// Kinds of owned terms.
const (
	Required Kind = iota
	RequiredAnti
	Preferred
	PreferredAnti
)

// OwnerTerm counts, by node, the placed pods that have a term.
type OwnerTerm struct {
	ID    int
	Kind  Kind
	Term  PodTerm
	Count []int32
	Total int
	key   string
	dead  bool // no longer counted: see forgetOwners
}

// Owners are the terms of placed pods, by ascending ID; some may be unused.
func (c *Cluster) Owners() []*OwnerTerm { return c.owners }

// Concerns reports whether a term of an existing pod means pods of a set.
func (c *Cluster) Concerns(o *OwnerTerm, s *LabelSet) bool { return c.Matches(&o.Term.Term, s) }

func (c *Cluster) shape(p *corev1.Pod) *Shape {
	c.scratch = sign(c.scratch[:0], p)
	if s := c.shapes[string(c.scratch)]; s != nil {
		return s
	}
	if len(c.shapes) > 4*c.limits && len(c.shapes) > 2*len(c.pods) {
		clear(c.shapes) // those in use live on with their pods
	}
	s := c.newShape(p)
	s.key = string(c.scratch)
	c.shapes[s.key] = s
	return s
}

func (c *Cluster) newShape(p *corev1.Pod) *Shape {
	s := &Shape{ID: c.nextID(), Namespace: p.Namespace, Scheduler: p.Spec.SchedulerName, Preempts: true}
	if p.Spec.Priority != nil {
		s.Priority = *p.Spec.Priority
	}
	if pp := p.Spec.PreemptionPolicy; pp != nil {
		s.Preempts = *pp != corev1.PreemptNever
	}
	r := podRequests(p)
	for name, q := range r.list {
		i := c.Resource(name)
		if v := value(i, q); v != 0 && i != Pods {
			s.Requests = append(s.Requests, Amount{i, v})
		}
	}
	slices.SortFunc(s.Requests, func(a, b Amount) int { return int(a.Resource - b.Resource) })
	s.Nonzero = r.nonzero
	s.Ports = hostPorts(&p.Spec)
	for i := range p.Spec.Volumes {
		s.Volumes = s.Volumes || mattersTo(&p.Spec.Volumes[i])
	}
	s.addTerms(p)
	return s
}

// mattersTo reports whether a volume can keep a pod from a node.
func mattersTo(v *corev1.Volume) bool {
	return v.PersistentVolumeClaim != nil || v.Ephemeral != nil || v.CSI != nil || v.GCEPersistentDisk != nil ||
		v.AWSElasticBlockStore != nil || v.AzureDisk != nil || v.Cinder != nil || v.ISCSI != nil || v.RBD != nil
}

func hostPorts(s *corev1.PodSpec) []Port {
	var out []Port
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			port := Port{IP: p.HostIP, Protocol: p.Protocol, Port: p.HostPort}
			if port.IP == "" || port.IP == "::" {
				port.IP = anyIP
			}
			if port.Protocol == "" {
				port.Protocol = corev1.ProtocolTCP
			}
			if p.HostPort > 0 && !slices.Contains(out, port) {
				out = append(out, port)
			}
		}
	}
	for i := range s.InitContainers {
		if r := s.InitContainers[i].RestartPolicy; r != nil && *r == corev1.ContainerRestartPolicyAlways {
			add(&s.InitContainers[i])
		}
	}
	for i := range s.Containers {
		add(&s.Containers[i])
	}
	return out
}

func (s *Shape) addTerms(p *corev1.Pod) {
	a := p.Spec.Affinity
	if a == nil {
		return
	}
	if a.PodAffinity != nil {
		s.Affinity = terms(p, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		s.PreferAffinity = weighted(p, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		s.AntiAffinity = terms(p, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		s.PreferAntiAffinity = weighted(p, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func terms(p *corev1.Pod, list []corev1.PodAffinityTerm) []PodTerm {
	out := make([]PodTerm, 0, len(list))
	for i := range list {
		out = append(out, podTerm(p, &list[i], 0))
	}
	return out
}

func weighted(p *corev1.Pod, list []corev1.WeightedPodAffinityTerm) []PodTerm {
	out := make([]PodTerm, 0, len(list))
	for i := range list {
		out = append(out, podTerm(p, &list[i].PodAffinityTerm, list[i].Weight))
	}
	return out
}

func podTerm(p *corev1.Pod, t *corev1.PodAffinityTerm, weight int32) PodTerm {
	namespaces := t.Namespaces
	var byLabels labels.Selector
	if t.NamespaceSelector != nil {
		byLabels = Selector(t.NamespaceSelector)
	} else if len(namespaces) == 0 {
		namespaces = []string{p.Namespace}
	}
	return PodTerm{Term: NewTerm(namespaces, byLabels, Selector(t.LabelSelector)), Key: t.TopologyKey, Weight: weight}
}

// own makes sure that the terms of a shape's pods are counted.
func (c *Cluster) own(s *Shape) {
	if s.owned != nil && !slices.ContainsFunc(s.owned, func(o *OwnerTerm) bool { return o.dead }) {
		return
	}
	s.owned = nil
	c.forgetOwners()
	if len(s.Affinity)+len(s.AntiAffinity)+len(s.PreferAffinity)+len(s.PreferAntiAffinity) == 0 {
		return
	}
	for kind, list := range [][]PodTerm{Required: s.Affinity, RequiredAnti: s.AntiAffinity, Preferred: s.PreferAffinity, PreferredAnti: s.PreferAntiAffinity} {
		for i := range list {
			s.owned = append(s.owned, c.owner(Kind(kind), &list[i]))
		}
	}
}

func (c *Cluster) owner(kind Kind, t *PodTerm) *OwnerTerm {
	key := strconv.Itoa(int(kind)) + "\x05" + strconv.Itoa(int(t.Weight)) + "\x05" + t.Key + "\x05" + t.text
	if o := c.ownerByKey[key]; o != nil {
		return o
	}
	o := &OwnerTerm{ID: c.nextID(), Kind: kind, Term: *t, Count: make([]int32, len(c.nodes)), key: key}
	c.ownerByKey[key] = o
	c.owners = append(c.owners, o)
	c.know(t.Selector)
	return o
}

// forgetOwners lets terms go that no placed or nominated pod has, once there are many:
// every rollout may bring new ones.
func (c *Cluster) forgetOwners() {
	if c.lifted > 0 || len(c.owners) < c.ownersLimit {
		return
	}
	waited := map[*OwnerTerm]bool{}
	for n := range c.waited {
		for _, p := range n.Nominated {
			for _, o := range p.Shape.owned {
				waited[o] = true
			}
		}
	}
	for _, o := range c.owners {
		if o.Total == 0 && !waited[o] {
			o.dead = true
			delete(c.ownerByKey, o.key)
		}
	}
	c.owners = slices.DeleteFunc(c.owners, func(o *OwnerTerm) bool { return o.dead })
	c.ownersLimit = max(c.limits, 2*len(c.owners))
	for _, s := range c.labelSets {
		s.ownersSeen, s.concerned = 0, nil
	}
	c.Era++
}

// sign writes what makes pods of one shape equal.
func sign(b []byte, p *corev1.Pod) []byte {
	s := &p.Spec
	b = text(b, p.Namespace)
	b = text(b, s.SchedulerName)
	priority := int32(0)
	if s.Priority != nil {
		priority = *s.Priority
	}
	b = binary.BigEndian.AppendUint32(b, uint32(priority))
	if s.PreemptionPolicy != nil && *s.PreemptionPolicy == corev1.PreemptNever {
		b = append(b, 'n')
	}
	b = signContainers(b, 'i', s.InitContainers)
	b = signContainers(b, 'c', s.Containers)
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			b = signStatus(b, p, &list[i])
		}
	}
	b = signResources(append(b, 'o'), s.Overhead)
	if s.Resources != nil {
		b = signResources(append(b, 'r'), s.Resources.Requests)
	}
	b = signPlacement(b, s)
	for i := range s.Volumes {
		if mattersTo(&s.Volumes[i]) {
			b = append(b, 'v')
			break
		}
	}
	return b
}

func signPlacement(b []byte, s *corev1.PodSpec) []byte {
	keys := make([]string, 0, 4)
	for k := range s.NodeSelector {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = text(text(append(b, 's'), k), s.NodeSelector[k])
	}
	if s.Affinity != nil {
		b = message(append(b, 'a'), s.Affinity)
	}
	for i := range s.Tolerations {
		b = message(append(b, 't'), &s.Tolerations[i])
	}
	for i := range s.TopologySpreadConstraints {
		b = message(append(b, 'p'), &s.TopologySpreadConstraints[i])
	}
	return text(append(b, 'n'), s.NodeName[:0])
}

func signContainers(b []byte, mark byte, list []corev1.Container) []byte {
	for i := range list {
		c := &list[i]
		b = text(append(b, mark), c.Image)
		if c.RestartPolicy != nil {
			b = text(b, string(*c.RestartPolicy))
		}
		b = signResources(b, c.Resources.Requests)
		for j := range c.Ports {
			if c.Ports[j].HostPort > 0 {
				b = message(append(b, 'h'), &c.Ports[j])
			}
		}
	}
	return b
}

func signStatus(b []byte, p *corev1.Pod, s *corev1.ContainerStatus) []byte {
	if s.AllocatedResources == nil && s.Resources == nil {
		return b
	}
	b = text(append(b, 'u'), s.Name)
	b = signResources(b, s.AllocatedResources)
	if s.Resources != nil {
		b = signResources(b, s.Resources.Requests)
	}
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == corev1.PodResizePending {
			b = text(b, p.Status.Conditions[i].Reason)
		}
	}
	return b
}

func signResources(b []byte, l corev1.ResourceList) []byte {
	var few [4]corev1.ResourceName
	names := few[:0]
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		q := l[n]
		v := q.MilliValue()
		if n != corev1.ResourceCPU {
			v = q.Value()
		}
		b = binary.BigEndian.AppendUint64(text(b, string(n)), uint64(v))
	}
	return append(b, ';')
}

func text(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

type sized interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

func message(b []byte, m sized) []byte {
	size := m.Size()
	b = binary.AppendUvarint(b, uint64(size))
	b = slices.Grow(b, size)
	_, _ = m.MarshalToSizedBuffer(b[len(b) : len(b)+size]) // the buffer is large enough
	return b[:len(b)+size]
}
