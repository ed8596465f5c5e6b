package rest

import (
	"context"
	"mime"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/apiserver/internal/decode"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// bodyTarget also takes evictions in the version that old clients send.
func bodyTarget(k *registry.SubresourceBody) decode.Target {
	t := decode.Target{Kind: k.GroupVersionKind}
	if k.Kind == "Eviction" {
		t.Also = []schema.GroupVersion{{Group: k.Group, Version: "v1beta1"}}
	}
	return t
}

func warnAll(ctx context.Context, texts []string) {
	for _, t := range texts {
		request.Warn(ctx, t)
	}
}

var errPatchType = &apierrors.StatusError{ErrStatus: metav1.Status{
	Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
	Message: "415: Unsupported Media Type", Details: &metav1.StatusDetails{},
}}

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
	return "", errPatchType
}
