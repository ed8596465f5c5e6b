// Package dependents is what controllers do with the objects that belong to
// theirs: they follow their changes, create and delete pods, and write the
// status of the owner.
package dependents

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/owner"
)

// Follow queues owners O when objects T change that they control or may adopt.
type Follow[O, T scheme.Object] struct {
	Kind   schema.GroupVersionKind
	Queue  *workqueue.Queue[cache.Key]
	Owners *cache.Replica[O]
	// Selector selects what an owner adopts. Without it nothing is adopted.
	Selector func(O) *metav1.LabelSelector
	// May, where it is set, says which orphans an owner can adopt at all.
	May func(O, T) bool
}

// Changed queues those to whom a change matters: the owner before, the owner
// now, and for an orphan all that select it.
func (f *Follow[O, T]) Changed(c cache.Change[T]) {
	if c.HasOld {
		f.owner(c.Old)
	}
	if !c.HasNew {
		return
	}
	if metav1.GetControllerOfNoCopy(c.New) != nil {
		f.owner(c.New)
		return
	}
	if f.Selector == nil || c.New.GetDeletionTimestamp() != nil {
		return // nobody adopts it
	}
	set := labels.Set(c.New.GetLabels())
	for o := range f.Owners.Snapshot().In(c.New.GetNamespace()) {
		if owner.Selector(f.Selector(o)).Matches(set) && (f.May == nil || f.May(o, c.New)) {
			f.Queue.Add(cache.KeyOf(o))
		}
	}
}

func (f *Follow[O, T]) owner(obj T) {
	ref := metav1.GetControllerOfNoCopy(obj)
	if ref == nil || ref.Kind != f.Kind.Kind {
		return
	}
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err == nil && gv.Group == f.Kind.Group {
		f.Queue.Add(cache.Key{Namespace: obj.GetNamespace(), Name: ref.Name})
	}
}
