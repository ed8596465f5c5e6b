package podtopologyspread

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/feed"
)

// Owners are the services and controllers whose selectors default constraints
// use. The loop's goroutine owns them.
type Owners struct {
	Services     feed.Table[*corev1.Service]
	Replications feed.Table[*corev1.ReplicationController]
	ReplicaSets  feed.Table[*appsv1.ReplicaSet]
	StatefulSets feed.Table[*appsv1.StatefulSet]

	memo map[memoKey]memoized
}

// NewOwners makes empty tables.
func NewOwners() *Owners {
	o := &Owners{}
	o.Services.Same = func(a, b *corev1.Service) bool { return maps.Equal(a.Spec.Selector, b.Spec.Selector) }
	o.Replications.Same = func(a, b *corev1.ReplicationController) bool { return maps.Equal(a.Spec.Selector, b.Spec.Selector) }
	o.ReplicaSets.Same = func(a, b *appsv1.ReplicaSet) bool {
		return apiequality.Semantic.DeepEqual(a.Spec.Selector, b.Spec.Selector)
	}
	o.StatefulSets.Same = func(a, b *appsv1.StatefulSet) bool {
		return apiequality.Semantic.DeepEqual(a.Spec.Selector, b.Spec.Selector)
	}
	return o
}

// memoKey: pods with equal labels and owner have one selector.
type memoKey struct {
	labels *cache.LabelSet
	owner  string
}

type memoized struct {
	generation int
	selector   labels.Selector
}

func (o *Owners) generation() int {
	return o.Services.Generation + o.Replications.Generation + o.ReplicaSets.Generation + o.StatefulSets.Generation
}

// Selects joins the selectors of the services of a pod and of its owner; nil
// when there are none.
func (o *Owners) Selects(c *cache.Cluster, p *cache.Pod) labels.Selector {
	services := o.Services.In(p.Obj.Namespace)
	owner := metav1.GetControllerOfNoCopy(p.Obj)
	if len(services) == 0 && owner == nil {
		return nil
	}
	key := memoKey{labels: c.LabelsOf(p)}
	if owner != nil {
		key.owner = owner.Kind + "/" + owner.Name
	}
	generation := o.generation()
	if m, ok := o.memo[key]; ok && m.generation == generation {
		return m.selector
	}
	for _, s := range services {
		c.Know(labels.SelectorFromSet(s.Spec.Selector))
	}
	key.labels = c.LabelsOf(p)
	s := o.selects(p.Obj, owner)
	if o.memo == nil || len(o.memo) > 8192 {
		o.memo = map[memoKey]memoized{}
	}
	o.memo[key] = memoized{generation, s}
	return s
}

func (o *Owners) selects(p *corev1.Pod, owner *metav1.OwnerReference) labels.Selector {
	set := labels.Set{}
	for _, s := range o.Services.In(p.Namespace) {
		if len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels)) {
			for k, v := range s.Spec.Selector {
				set[k] = v
			}
		}
	}
	more := o.ofOwner(p.Namespace, owner)
	if len(set) == 0 && more == nil {
		return nil
	}
	out := labels.SelectorFromSet(set)
	if more != nil {
		reqs, selectable := more.Requirements()
		if selectable {
			out = out.Add(reqs...)
		}
	}
	if out.Empty() {
		return nil
	}
	return out
}

func (o *Owners) ofOwner(namespace string, owner *metav1.OwnerReference) labels.Selector {
	if owner == nil {
		return nil
	}
	switch owner.Kind {
	case "ReplicationController":
		if rc, ok := o.Replications.Get(namespace, owner.Name); ok && len(rc.Spec.Selector) > 0 {
			return labels.SelectorFromSet(rc.Spec.Selector)
		}
	case "ReplicaSet":
		if rs, ok := o.ReplicaSets.Get(namespace, owner.Name); ok && rs.Spec.Selector != nil {
			return cache.Selector(rs.Spec.Selector)
		}
	case "StatefulSet":
		if ss, ok := o.StatefulSets.Get(namespace, owner.Name); ok && ss.Spec.Selector != nil {
			return cache.Selector(ss.Spec.Selector)
		}
	}
	return nil
}
