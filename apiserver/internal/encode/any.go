package encode

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// AppendAny appends an object that is not stored: a Status, a discovery
// document, a review, a Scale. kind is put on it when not empty; obj is not
// changed.
func AppendAny(dst []byte, f Format, kind schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	if !kind.Empty() && obj.GetObjectKind().GroupVersionKind() != kind {
		obj = shallow(obj)
		obj.GetObjectKind().SetGroupVersionKind(kind)
	}
	return appendAny(dst, f, obj)
}
