package clienttest

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// resource finds what a request is about.
func (s *Server) resource(q *pb.Resource) (*scheme.Resource, error) {
	served, ok := s.scheme.At(schema.GroupVersionResource{Group: q.GetGroup(), Version: q.GetVersion(), Resource: q.GetResource()})
	if !ok || served.At.Decode != nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: q.GetGroup(), Resource: q.GetResource()}, "")
	}
	return served.Resource, nil
}

func (s *Server) target(k *pb.Key) (*scheme.Resource, error) {
	r, err := s.resource(k.GetResource())
	if err != nil {
		return nil, err
	}
	if !r.Namespaced && k.GetNamespace() != "" {
		return nil, apierrors.NewBadRequest("namespace must not be provided on cluster-scoped objects")
	}
	if k.GetSubresource() != "" && r.Subresource(k.GetSubresource()) == nil {
		return nil, apierrors.NewNotFound(r.GroupResource(), k.GetName())
	}
	return r, nil
}

// Get implements pb.ObjectsServer.
func (s *Server) Get(ctx context.Context, q *pb.GetRequest) (*pb.GetResponse, error) {
	if err := s.intercept(ctx, "Get", q); err != nil {
		return nil, statusError(err)
	}
	r, err := s.target(q.Key)
	if err != nil {
		return nil, statusError(err)
	}
	s.store.mu.Lock()
	o := s.store.get(r, q.Key.Namespace, q.Key.Name)
	s.store.mu.Unlock()
	if o == nil {
		return nil, statusError(apierrors.NewNotFound(r.GroupResource(), q.Key.Name))
	}
	return &pb.GetResponse{Object: o.wire()}, nil
}

func (o *stored) wire() *pb.Object { return &pb.Object{Raw: o.raw, Revision: o.revision} }

// pageObjects of a list go into one response.
const pageObjects = 500

// List implements pb.ObjectsServer.
func (s *Server) List(q *pb.ListRequest, stream pb.Objects_ListServer) error {
	if err := s.intercept(stream.Context(), "List", q); err != nil {
		return statusError(err)
	}
	r, err := s.resource(q.Resource)
	if err != nil {
		return statusError(err)
	}
	sel, err := newSelector(r, q.Selection)
	if err != nil {
		return statusError(err)
	}
	s.store.mu.Lock()
	list, revision := s.store.list(r, sel), s.store.revision
	s.store.mu.Unlock()
	for first := true; first || len(list) > 0; first = false {
		n := min(len(list), pageObjects)
		page := &pb.ListResponse{Revision: revision}
		for _, o := range list[:n] {
			page.Objects = append(page.Objects, o.wire())
		}
		list = list[n:]
		if err := stream.Send(page); err != nil {
			return err
		}
	}
	return nil
}

func packStatus(err error) *pb.Status {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		s = apierrors.NewInternalError(err)
	}
	st := s.Status()
	raw, marshalErr := st.Marshal()
	if marshalErr != nil {
		panic(marshalErr)
	}
	return &pb.Status{Raw: raw}
}

// statusError is the gRPC error that carries the Kubernetes Status.
func statusError(err error) error {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return err // gRPC's own, or the context's
	}
	code := codes.Internal
	switch s.Status().Code {
	case http.StatusNotFound:
		code = codes.NotFound
	case http.StatusConflict:
		code = codes.Aborted
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code = codes.InvalidArgument
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	}
	st, detailErr := status.New(code, s.Status().Message).WithDetails(packStatus(err))
	if detailErr != nil {
		panic(detailErr)
	}
	return st.Err()
}
