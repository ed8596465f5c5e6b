package rpc

import (
	"context"
	"errors"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	pb "xebec.dev/proto/gen/control/v1"
)

// mutateParallel is how many writes of one stream run at once; more wait in
// the transport, which slows the sender.
const mutateParallel = 128

// Mutate implements pb.ObjectsServer.
func (s *Server) Mutate(stream pb.Objects_MutateServer) error {
	m := &mutations{Server: s, stream: stream, places: make(chan struct{}, mutateParallel), last: map[string]chan struct{}{}}
	defer m.running.Wait()
	for {
		q, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m.places <- struct{}{}
		m.start(stream.Context(), q)
	}
}

// mutations keeps the order of writes to the same object: each waits for the
// one before.
type mutations struct {
	*Server
	stream  pb.Objects_MutateServer
	places  chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	last map[string]chan struct{} // guarded by mu: the newest write by key, closed at its end
	send sync.Mutex               // held while sending
}

func (m *mutations) start(ctx context.Context, q *pb.MutateRequest) {
	key := orderKey(q)
	done := make(chan struct{})
	m.mu.Lock()
	before := m.last[key]
	if key != "" {
		m.last[key] = done
	}
	m.mu.Unlock()
	m.running.Go(func() {
		defer func() {
			m.mu.Lock()
			if m.last[key] == done {
				delete(m.last, key)
			}
			m.mu.Unlock()
			close(done)
			<-m.places
		}()
		if before != nil {
			<-before
		}
		res := m.one(ctx, q)
		m.send.Lock()
		defer m.send.Unlock()
		_ = m.stream.Send(res) // the stream's end shows at Recv
	})
}

func (m *mutations) one(ctx context.Context, q *pb.MutateRequest) *pb.MutateResponse {
	var res *pb.WriteResponse
	var err error
	switch w := q.Write.(type) {
	case *pb.MutateRequest_Create:
		res, err = m.Create(ctx, w.Create)
	case *pb.MutateRequest_Update:
		res, err = m.Update(ctx, w.Update)
	case *pb.MutateRequest_Patch:
		res, err = m.Patch(ctx, w.Patch)
	case *pb.MutateRequest_Delete:
		res, err = m.Delete(ctx, w.Delete)
	default:
		err = apierrors.NewBadRequest("write: one of create, update, patch and delete is required")
	}
	if err != nil {
		return &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Failed{Failed: unpackStatus(err)}}
	}
	return &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Done{Done: res}}
}

// orderKey is the object that a write is about; "" when it has no name yet.
func orderKey(q *pb.MutateRequest) string {
	var k *pb.Key
	switch w := q.Write.(type) {
	case *pb.MutateRequest_Create:
		k = w.Create.GetKey()
	case *pb.MutateRequest_Update:
		k = w.Update.GetKey()
	case *pb.MutateRequest_Patch:
		k = w.Patch.GetKey()
	case *pb.MutateRequest_Delete:
		k = w.Delete.GetKey()
	}
	if k.GetName() == "" {
		return ""
	}
	r := k.GetResource()
	return r.GetGroup() + "/" + r.GetResource() + "/" + k.GetNamespace() + "/" + k.GetName()
}
