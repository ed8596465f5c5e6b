package encode

import (
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Any writes an object that is not stored: a Status, a discovery document, a
// review, a Scale. kind is put on it when not empty; obj is not changed.
func Any(w io.Writer, f Format, kind schema.GroupVersionKind, obj runtime.Object) error {
	b, err := AppendAny(nil, f, kind, obj)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// AppendAny is Any onto a buffer.
func AppendAny(dst []byte, f Format, kind schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	if !kind.Empty() && obj.GetObjectKind().GroupVersionKind() != kind {
		obj = shallow(obj)
		obj.GetObjectKind().SetGroupVersionKind(kind)
	}
	return appendAny(dst, f, obj)
}

// Status writes a status.
func Status(w io.Writer, f Format, status *metav1.Status) error {
	return Any(w, f, schema.GroupVersionKind{Version: "v1", Kind: "Status"}, status)
}
