package scheme

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Message is a Go type with Kubernetes' generated protobuf code.
type Message interface {
	Marshal() ([]byte, error)
	MarshalToSizedBuffer(b []byte) (int, error)
	Size() int
	Unmarshal(b []byte) error
}

// Object is an API object that can be stored: a k8s.io/api struct with
// metadata and a protobuf form.
type Object interface {
	runtime.Object
	metav1.Object
	Message
}
