package registry

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/storage"
)

// TestUnknownIsNotRepeated: who is told to wait sends a request again without
// reading, client-go first of all.
func TestUnknownIsNotRepeated(t *testing.T) {
	err := Status(fmt.Errorf("put: %w", storage.ErrUnknown), schema.GroupResource{Resource: "pods"}, "p")
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("%v has no status", err)
	}
	s := status.Status()
	if s.Code != http.StatusGatewayTimeout || s.Details != nil && s.Details.RetryAfterSeconds != 0 {
		t.Errorf("an outcome that nobody knows is told as %d, to be repeated after %d s", s.Code, s.Details.RetryAfterSeconds)
	}
}
