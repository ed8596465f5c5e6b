// Package apply writes objects of any kind through the API server's gRPC
// door, by server-side apply: what is there already is only brought to what
// is wanted.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

// Object applies one object as manager, taking its fields from others.
func Object(ctx context.Context, c *client.Client, manager string, obj map[string]any) error {
	u := unstructured.Unstructured{Object: obj}
	gvk := schema.FromAPIVersionAndKind(u.GetAPIVersion(), u.GetKind())
	served, ok := c.Scheme().Kind(gvk)
	if !ok {
		return fmt.Errorf("kind %s of %s is not known", u.GetKind(), u.GetAPIVersion())
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		_, err = c.Objects().Patch(ctx, &pb.PatchRequest{
			Key:  &pb.Key{Resource: client.Name(served.Resource), Namespace: u.GetNamespace(), Name: u.GetName()},
			Type: pb.PatchRequest_APPLY, Patch: raw, Force: true, OmitObject: true,
			Options: &pb.WriteOptions{FieldManager: manager, FieldValidation: "Strict"},
		})
		err = client.FromError(err)
		var answer apierrors.APIStatus
		// Repeating an apply whose answer was lost does no harm; a server that
		// is coming up may refuse what it takes a moment later.
		if err == nil || attempt == retries || errors.As(err, &answer) && !passing(err) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("apply %s %s: %w", u.GetKind(), name(&u), err)
		case <-time.After(pause):
		}
	}
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", u.GetKind(), name(&u), err)
	}
	return nil
}

// How often an apply is repeated while the server is coming up.
const (
	retries = 50
	pause   = 200 * time.Millisecond
)

// passing errors are those of a server that has only begun: its own bindings
// and namespaces are not all there.
func passing(err error) bool {
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsForbidden(err) ||
		apierrors.IsNotFound(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err)
}

func name(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetName()
	}
	return u.GetNamespace() + "/" + u.GetName()
}
