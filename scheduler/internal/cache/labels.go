package cache

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// LabelSet is a namespace with the labels that some selector asks about:
// pods of one LabelSet are alike to every selector there is.
type LabelSet struct {
	ID        int
	Namespace string
	Labels    labels.Set // only keys that selectors ask about

	counters []*Counter // that match
	pods     []*Pod     // placed ones, each at its labelPos

	ownersSeen int    // of Cluster.owners
	concerned  []byte // ID of the newest of them that means these pods
}

// Term is which pods a selector means, in which namespaces.
type Term struct {
	// Namespaces by name, and NamespaceSelector by labels when not nil.
	Namespaces        []string
	NamespaceSelector labels.Selector
	Selector          labels.Selector
	text              string
}

// NewTerm makes a term; a nil namespace selector selects none.
func NewTerm(namespaces []string, byLabels, selector labels.Selector) Term {
	t := Term{Namespaces: slices.Clone(namespaces), NamespaceSelector: byLabels, Selector: selector}
	slices.Sort(t.Namespaces)
	t.text = strings.Join(t.Namespaces, ",") + "\x01"
	if byLabels != nil {
		t.text += byLabels.String() + "\x02"
	}
	t.text += "\x01" + selector.String()
	if r, selectable := selector.Requirements(); !selectable || len(r) == 0 && !selector.Empty() {
		t.text += "\x03nothing"
	}
	return t
}

// Selector of a label selector; nil selects nothing, as Kubernetes has it.
func Selector(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing() // the API server lets none of these in
	}
	return out
}

// Matches reports whether pods of the set are meant.
func (c *Cluster) Matches(t *Term, s *LabelSet) bool {
	return c.inNamespace(t, s.Namespace) && t.Selector.Matches(s.Labels)
}

func (c *Cluster) inNamespace(t *Term, namespace string) bool {
	if slices.Contains(t.Namespaces, namespace) {
		return true
	}
	return t.NamespaceSelector != nil && t.NamespaceSelector.Matches(labels.Set(c.namespaces[namespace]))
}

// Counter counts the placed pods that all its terms mean, by node.
type Counter struct {
	terms []Term
	live  bool // terminating pods do not count
	key   string
	refs  int

	// Count by node index; read only.
	Count []int32
	Total int
}

// CounterOf finds or makes the counter of pods that all terms mean. Release
// it when it is of no more use.
func (c *Cluster) CounterOf(terms []Term, live bool) *Counter {
	key := "all"
	if live {
		key = "live"
	}
	for i := range terms {
		key += "\x04" + terms[i].text
	}
	if k := c.counters[key]; k != nil {
		k.refs++
		return k
	}
	k := &Counter{terms: terms, live: live, key: key, refs: 1, Count: make([]int32, len(c.nodes))}
	for i := range terms {
		c.know(terms[i].Selector)
	}
	c.counters[key] = k
	for _, s := range c.labelSets {
		c.attach(k, s)
	}
	return k
}

// Release gives a counter back.
func (c *Cluster) Release(k *Counter) {
	if k.refs--; k.refs > 0 {
		return
	}
	delete(c.counters, k.key)
	for _, s := range c.labelSets {
		if i := slices.Index(s.counters, k); i >= 0 {
			s.counters = slices.Delete(s.counters, i, i+1)
		}
	}
}

func (c *Cluster) meansAll(k *Counter, s *LabelSet) bool {
	for i := range k.terms {
		if !c.Matches(&k.terms[i], s) {
			return false
		}
	}
	return len(k.terms) > 0
}

// attach lets a set's pods count, if they are meant.
func (c *Cluster) attach(k *Counter, s *LabelSet) {
	if !c.meansAll(k, s) {
		return
	}
	s.counters = append(s.counters, k)
	for _, p := range s.pods {
		k.add(p, 1)
	}
}

func (k *Counter) add(p *Pod, by int32) {
	if k.live && p.Terminating {
		return
	}
	k.Count[p.node] += by
	k.Total += int(by)
}

// Know makes sure that label sets tell apart what a selector asks about.
func (c *Cluster) Know(s labels.Selector) { c.know(s) }

// know makes sure that the keys a selector asks about tell label sets apart.
func (c *Cluster) know(s labels.Selector) {
	reqs, _ := s.Requirements()
	grown := false
	for i := range reqs {
		if key := reqs[i].Key(); !c.asked[key] {
			c.asked[key] = true
			grown = true
		}
	}
	if grown {
		c.relabel()
	}
}

// relabel sorts all pods into label sets anew. It happens when a selector
// asks about a key for the first time, or a namespace's labels change.
func (c *Cluster) relabel() {
	c.Era++
	c.relabelling = true
	defer func() { c.relabelling = false }()
	c.labelSets = map[string]*LabelSet{}
	for _, k := range c.counters {
		clear(k.Count)
		k.Total = 0
	}
	for _, p := range c.pods {
		p.labels = c.labelSet(p.Obj.Namespace, p.Obj.Labels)
		if p.node >= 0 {
			p.labels.enter(p)
			for _, k := range p.labels.counters {
				k.add(p, 1)
			}
		}
	}
}

// labelSet finds or makes the set of a pod's labels.
func (c *Cluster) labelSet(namespace string, of map[string]string) *LabelSet {
	kept := make([]string, 0, 8)
	for k := range of {
		if c.asked[k] {
			kept = append(kept, k)
		}
	}
	slices.Sort(kept)
	buf := append(c.scratch[:0], namespace...)
	for _, k := range kept {
		buf = append(buf, 0)
		buf = append(buf, k...)
		buf = append(buf, '=')
		buf = append(buf, of[k]...)
	}
	c.scratch = buf
	if s := c.labelSets[string(buf)]; s != nil {
		return s
	}
	if len(c.labelSets) > c.limits+2*len(c.pods) && c.lifted == 0 && c.quiet == 0 && !c.relabelling {
		key := string(buf)
		c.relabel()
		if s := c.labelSets[key]; s != nil {
			return s
		}
		buf = append(c.scratch[:0], key...)
		c.scratch = buf
	}
	s := &LabelSet{ID: c.nextID(), Namespace: namespace, Labels: make(labels.Set, len(kept))}
	for _, k := range kept {
		s.Labels[k] = of[k]
	}
	c.labelSets[string(buf)] = s
	for _, k := range c.counters {
		if c.meansAll(k, s) {
			s.counters = append(s.counters, k)
		}
	}
	return s
}

func (s *LabelSet) enter(p *Pod) {
	p.labelPos = len(s.pods)
	s.pods = append(s.pods, p)
}

func (s *LabelSet) leave(p *Pod) {
	last := len(s.pods) - 1
	s.pods[p.labelPos] = s.pods[last]
	s.pods[p.labelPos].labelPos = p.labelPos
	s.pods = s.pods[:last]
}

// MatchesPod reports whether a pod, which need not be placed, is meant.
func (c *Cluster) MatchesPod(t *Term, p *corev1.Pod) bool {
	return c.inNamespace(t, p.Namespace) && t.Selector.Matches(labels.Set(p.Labels))
}

// ConcernedUpTo names the terms of placed pods that concern a pod: its answer
// changes when there is one more.
func (c *Cluster) ConcernedUpTo(p *Pod) []byte {
	s := c.LabelsOf(p)
	for ; s.ownersSeen < len(c.owners); s.ownersSeen++ {
		if o := c.owners[s.ownersSeen]; c.Concerns(o, s) {
			s.concerned = strconv.AppendInt(s.concerned[:0], int64(o.ID), 36)
		}
	}
	return s.concerned
}
