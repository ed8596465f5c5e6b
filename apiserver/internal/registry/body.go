package registry

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SubresourceBody is the kind of a subresource's body where it isn't the
// parent's.
type SubresourceBody struct {
	schema.GroupVersionKind
	New func() runtime.Object
}

var bodyKinds = map[string]SubresourceBody{
	"binding":  {corev1.SchemeGroupVersion.WithKind("Binding"), func() runtime.Object { return new(corev1.Binding) }},
	"eviction": {policyv1.SchemeGroupVersion.WithKind("Eviction"), func() runtime.Object { return new(policyv1.Eviction) }},
	"token":    {authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), func() runtime.Object { return new(authenticationv1.TokenRequest) }},
	"scale":    {autoscalingv1.SchemeGroupVersion.WithKind("Scale"), func() runtime.Object { return new(autoscalingv1.Scale) }},
}

// BodyKind is the kind of a subresource's body; nil when it is the parent's.
func BodyKind(subresource string) *SubresourceBody {
	if k, ok := bodyKinds[subresource]; ok {
		return &k
	}
	return nil
}
