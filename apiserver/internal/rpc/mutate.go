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

// Mutate implements pb.ObjectsServer. When the server drains it begins
// nothing more, answers what it has begun and ends the stream with a Status:
// the client then knows that the rest was not done.
func (s *Server) Mutate(stream pb.Objects_MutateServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	m := &mutations{Server: s, stream: stream, places: make(chan struct{}, mutateParallel), last: map[string]chan struct{}{}}
	defer m.running.Wait()
	requests, failed := receive(ctx, stream.Recv)
	for {
		select {
		case <-s.Draining:
			return statusError(shuttingDown())
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case q := <-requests:
			m.places <- struct{}{}
			m.start(stream.Context(), q)
		}
	}
}

func shuttingDown() error {
	return apierrors.NewServiceUnavailable("the API server is shutting down")
}

// receive reads a stream until it or ctx ends. It never blocks its stream's
// end: the reader goes with the handler.
func receive[Q any](ctx context.Context, recv func() (Q, error)) (<-chan Q, <-chan error) {
	requests, failed := make(chan Q), make(chan error, 1)
	go func() {
		for {
			q, err := recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, failed
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
	res, err := m.do(ctx, q)
	if err != nil {
		return &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Failed{Failed: unpackStatus(err)}}
	}
	return &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Done{Done: res}}
}

func (m *mutations) do(ctx context.Context, q *pb.MutateRequest) (res *pb.WriteResponse, err error) {
	defer m.recovered("Mutate", &err)
	switch w := q.Write.(type) {
	case *pb.MutateRequest_Create:
		res, err = m.Server.Create(ctx, w.Create)
	case *pb.MutateRequest_Update:
		res, err = m.Server.Update(ctx, w.Update)
	case *pb.MutateRequest_Patch:
		res, err = m.Server.Patch(ctx, w.Patch)
	case *pb.MutateRequest_Delete:
		res, err = m.Server.Delete(ctx, w.Delete)
	default:
		err = apierrors.NewBadRequest("write: one of create, update, patch and delete is required")
	}
	return res, err
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
