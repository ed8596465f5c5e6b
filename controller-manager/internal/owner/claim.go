// Package owner says which objects belong to a controller's object: those it
// controls, orphans to adopt, and those to let go. The decision is pure; the
// writes it needs are made here too.
package owner

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/replica"
)

// Claim is what belongs to an owner and what is to change about that.
type Claim[T scheme.Object] struct {
	// Owned are its objects as they are now.
	Owned []T
	// Adopt are orphans that its selector selects, Release its objects that
	// the selector does not select any more.
	Adopt, Release []T
}

// Candidates are the objects that owner controls, and the orphans of its
// namespace.
func Candidates[T scheme.Object](s *cache.Snapshot[T], byOwner *cache.Index[T], owner metav1.Object) []T {
	out := slices.Collect(s.By(byOwner, string(owner.GetUID())))
	return slices.AppendSeq(out, s.By(byOwner, replica.Orphans(owner.GetNamespace())))
}

// Sort claims candidates: objects controlled by owner, and orphans of its
// namespace. An owner that is being deleted changes nothing.
func Sort[T scheme.Object](owner metav1.Object, selector labels.Selector, candidates []T) Claim[T] {
	var c Claim[T]
	dying := owner.GetDeletionTimestamp() != nil
	for _, obj := range candidates {
		matches := selector.Matches(labels.Set(obj.GetLabels()))
		ref := metav1.GetControllerOfNoCopy(obj)
		switch {
		case ref != nil && ref.UID != owner.GetUID():
		case ref != nil && matches:
			c.Owned = append(c.Owned, obj)
		case ref != nil && !dying:
			c.Release = append(c.Release, obj)
		case ref == nil && matches && !dying && obj.GetDeletionTimestamp() == nil:
			c.Adopt = append(c.Adopt, obj)
		}
	}
	return c
}

// Selector of a label selector. One that is not valid, or empty where that is
// not meant, selects nothing.
func Selector(s *metav1.LabelSelector) labels.Selector {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || sel.Empty() {
		return labels.Nothing()
	}
	return sel
}

// Ref is the reference of an object to its controller.
func Ref(owner metav1.Object, gvk schema.GroupVersionKind) *metav1.OwnerReference {
	return metav1.NewControllerRef(owner, gvk)
}

// Same reports whether an object is controlled by owner.
func Same(obj, owner metav1.Object) bool {
	ref := metav1.GetControllerOfNoCopy(obj)
	return ref != nil && ref.UID == owner.GetUID()
}

// AdoptWrite makes owner the controller of an orphan. The uid makes the patch
// fail when the name has gone to another object.
func AdoptWrite[T scheme.Object](c *client.Client, ref *metav1.OwnerReference, orphan T, finalizers ...string) (*client.Write, error) {
	meta := map[string]any{"uid": orphan.GetUID(), "ownerReferences": []any{ref}}
	if len(finalizers) > 0 {
		meta["finalizers"] = finalizers
	}
	return metaPatch[T](c, orphan, meta)
}

// ReleaseWrite takes the owner's reference from an object.
func ReleaseWrite[T scheme.Object](c *client.Client, owner types.UID, obj T, finalizers ...string) (*client.Write, error) {
	meta := map[string]any{"uid": obj.GetUID(), "ownerReferences": []any{map[string]any{"$patch": "delete", "uid": owner}}}
	if len(finalizers) > 0 {
		meta["$deleteFromPrimitiveList/finalizers"] = finalizers
	}
	return metaPatch[T](c, obj, meta)
}

func metaPatch[T scheme.Object](c *client.Client, obj T, meta map[string]any) (*client.Write, error) {
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return nil, fmt.Errorf("patch of the owners of %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	return client.PatchWrite[T](c, obj.GetNamespace(), obj.GetName(), types.StrategicMergePatchType, patch, client.WriteOptions{OmitObject: true})
}

// UnfinalizeWrite takes finalizers from an object.
func UnfinalizeWrite[T scheme.Object](c *client.Client, obj T, finalizers ...string) (*client.Write, error) {
	return metaPatch[T](c, obj, map[string]any{"uid": obj.GetUID(), "$deleteFromPrimitiveList/finalizers": finalizers})
}
