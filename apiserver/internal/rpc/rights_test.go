package rpc

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/apiserver/internal/registry"
	pb "xebec.dev/proto/gen/control/v1"
)

func testTarget(t *testing.T, resource, namespace, name, sub string) *registry.Target {
	t.Helper()
	served, ok := builtin.Scheme().At(schema.GroupVersionResource{Version: "v1", Resource: resource})
	if !ok {
		t.Fatalf("no %s", resource)
	}
	return &registry.Target{Served: served, Namespace: namespace, Name: name, Subresource: sub}
}

// TestRightsToASubresourceAreNoMore: what REST has no path for is refused,
// since it would act on the object with the rights to its subresource.
func TestRightsToASubresourceAreNoMore(t *testing.T) {
	for _, tt := range []struct {
		resource, namespace, name, sub, verb string
		ok                                   bool
	}{
		{"pods", "n", "p", "", "get", true},
		{"pods", "n", "p", "status", "get", true},
		{"pods", "n", "p", "status", "update", true},
		{"pods", "n", "p", "status", "patch", true},
		{"pods", "n", "p", "log", "get", false},
		{"pods", "n", "p", "binding", "get", false},
		{"pods", "n", "p", "binding", "create", true},
		{"pods", "n", "p", "eviction", "create", true},
		{"pods", "n", "p", "status", "create", false},
		{"pods", "n", "p", "status", "delete", false},
		{"pods", "n", "p", "eviction", "delete", false},
		{"replicationcontrollers", "n", "r", "scale", "get", true},
		{"replicationcontrollers", "n", "r", "scale", "update", true},
		{"replicationcontrollers", "n", "r", "scale", "delete", false},
		{"pods", "n", "", "", "create", true},
		{"pods", "n", "", "", "get", false},
		{"pods", "n", "", "binding", "create", false},
		{"pods", "", "p", "", "create", false},
		{"pods", "", "p", "", "delete", false},
		{"nodes", "", "n", "", "delete", true},
	} {
		err := checkVerb(testTarget(t, tt.resource, tt.namespace, tt.name, tt.sub), tt.verb)
		if (err == nil) != tt.ok {
			t.Errorf("%s %s/%s of %q: %v", tt.verb, tt.resource, tt.sub, tt.name, err)
		}
	}
}

// TestRightsByNameAreAskedAsInREST: a create has no name, since the object
// may have another than the key.
func TestRightsByNameAreAskedAsInREST(t *testing.T) {
	if i := info(testTarget(t, "pods", "n", "p", ""), "create"); i.Name != "" {
		t.Errorf("a create is asked for by name %q", i.Name)
	}
	if i := info(testTarget(t, "pods", "n", "p", "binding"), "create"); i.Name != "p" {
		t.Errorf("a binding is asked for by name %q", i.Name)
	}
	byName := &pb.Selection{FieldSelector: "metadata.name=a"}
	if i := selected(testTarget(t, "nodes", "", "", ""), "watch", byName); i.Name != "a" {
		t.Errorf("a watch of one name asks for rights to %q", i.Name)
	}
	if i := selected(testTarget(t, "nodes", "", "", ""), "deletecollection", byName); i.Name != "" {
		t.Errorf("a deletion of a collection by name asks for rights to %q", i.Name)
	}
	if i := selected(testTarget(t, "nodes", "", "", ""), "watch", &pb.Selection{FieldSelector: "metadata.name=a,spec.unschedulable=false"}); i.Name != "" {
		t.Errorf("a watch by two fields asks for rights to %q", i.Name)
	}
	if i := selected(testTarget(t, "pods", "n", "p", ""), "deletecollection", &pb.Selection{}); i.Name != "" {
		t.Errorf("a collection is deleted by name %q", i.Name)
	}
	nodes := testTarget(t, "nodes", "", "", "")
	if _, err := selection(nodes, &pb.Selection{Namespace: "n"}); !apierrors.IsBadRequest(err) {
		t.Errorf("nodes of a namespace: %v", err)
	}
}

func TestStatusOfErrors(t *testing.T) {
	notFound := statusError(apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p"))
	if httpCode(notFound) != http.StatusNotFound || status.Code(notFound) != codes.NotFound {
		t.Errorf("not found is %d, %s", httpCode(notFound), status.Code(notFound))
	}
	// An etcd client's errors are gRPC's too, and not for our clients.
	foreign := statusError(status.Error(codes.Unavailable, "etcd is away"))
	if carried(foreign) == nil || httpCode(foreign) != http.StatusInternalServerError {
		t.Errorf("a foreign error is %v", foreign)
	}
	if code := httpCode(statusError(nil)); code != http.StatusOK {
		t.Errorf("no error is %d", code)
	}
}
