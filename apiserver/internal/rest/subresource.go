package rest

import (
	"context"
	"mime"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/apiserver/internal/decode"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// bodyKind is the kind of a subresource's body.
type bodyKind struct {
	schema.GroupVersionKind
	New func() runtime.Object
}

// target also takes evictions in the version that old clients send.
func (k *bodyKind) target() decode.Target {
	t := decode.Target{Kind: k.GroupVersionKind}
	if k.Kind == "Eviction" {
		t.Also = []schema.GroupVersion{{Group: k.Group, Version: "v1beta1"}}
	}
	return t
}

var bodyKinds = map[string]bodyKind{
	"binding":  {corev1.SchemeGroupVersion.WithKind("Binding"), func() runtime.Object { return new(corev1.Binding) }},
	"eviction": {policyv1.SchemeGroupVersion.WithKind("Eviction"), func() runtime.Object { return new(policyv1.Eviction) }},
	"token":    {authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), func() runtime.Object { return new(authenticationv1.TokenRequest) }},
	"scale":    {autoscalingv1.SchemeGroupVersion.WithKind("Scale"), func() runtime.Object { return new(autoscalingv1.Scale) }},
}

// subresourceKind is the body's kind where it isn't the parent's; nil elsewhere.
func subresourceKind(t *registry.Target) *bodyKind {
	if t.Subresource == "" {
		return nil
	}
	if k, ok := bodyKinds[t.Subresource]; ok {
		return &k
	}
	return nil
}

func warnAll(ctx context.Context, texts []string) {
	for _, t := range texts {
		request.Warn(ctx, t)
	}
}

var patchTypes = []string{
	string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType),
}

// patchType reads the Content-Type of a patch; 415 for others.
func patchType(contentType string) (types.PatchType, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		for _, t := range patchTypes {
			if media == t {
				return types.PatchType(t), nil
			}
		}
	}
	return "", decode.UnsupportedMediaType(patchTypes)
}
