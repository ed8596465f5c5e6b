// Package clienttest has an API server in memory for the tests of components,
// and the suite that it and the real one both pass, so that it cannot drift.
//
// The server keeps to the contract in xebec.dev/proto: revisions, conflicts,
// selectors, watches that resume or expire, graceful deletion and finalizers,
// the defaults and rules of package api. It has no users, admission or
// managed fields, and an apply patch is a merge patch that may create.
package clienttest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

// Server is an API server in memory.
type Server struct {
	pb.UnimplementedObjectsServer
	scheme *scheme.Scheme
	store  *store

	// Intercept, when set before the first call, may refuse or delay a call;
	// method is "Create", "Watch"… and for items of a Mutate stream the
	// write's own.
	Intercept func(ctx context.Context, method string, request any) error
	// Review answers objects that are not stored (SubjectAccessReview…) by
	// filling in their status.
	Review func(obj scheme.Message)

	mu sync.Mutex
	// guarded by mu; nil while down
	grpc     *grpc.Server
	listener *bufconn.Listener
}

// New makes a server of a scheme and starts it; it ends with the test.
func New(t testing.TB, s *scheme.Scheme) *Server {
	srv := &Server{scheme: s, store: newStore()}
	srv.Start()
	t.Cleanup(srv.Stop)
	return srv
}

// Start serves again after Stop. Objects are kept.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		return
	}
	s.grpc, s.listener = grpc.NewServer(), bufconn.Listen(1<<20)
	pb.RegisterObjectsServer(s.grpc, s)
	go func(g *grpc.Server, l net.Listener) { _ = g.Serve(l) }(s.grpc, s.listener) // ends with Stop
}

// Stop breaks all connections and refuses new ones.
func (s *Server) Stop() {
	s.mu.Lock()
	g := s.grpc
	s.grpc, s.listener = nil, nil
	s.mu.Unlock()
	if g != nil {
		g.Stop()
	}
}

// Restart breaks all connections.
func (s *Server) Restart() {
	s.Stop()
	s.Start()
}

// Compact forgets changes up to now: watches that resume earlier expire.
func (s *Server) Compact() { s.store.compact() }

// Revision is that of the newest change.
func (s *Server) Revision() int64 { return s.store.current() }

// Client is a client of the server, closed with the test.
func (s *Server) Client(t testing.TB) *client.Client {
	t.Helper()
	conn := s.Dial(t)
	return client.New(conn, s.scheme)
}

// Dial is a connection to the server, closed with the test.
func (s *Server) Dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		s.mu.Lock()
		l := s.listener
		s.mu.Unlock()
		if l == nil {
			return nil, &net.OpError{Op: "dial", Net: "bufconn", Err: net.ErrClosed}
		}
		return l.DialContext(ctx)
	}
	conn, err := grpc.NewClient("passthrough:///clienttest",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial),
		grpc.WithConnectParams(connectParams), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test is over
	return conn
}

var connectParams = grpc.ConnectParams{MinConnectTimeout: time.Second}

func (s *Server) intercept(ctx context.Context, method string, q any) error {
	if s.Intercept == nil {
		return nil
	}
	return s.Intercept(ctx, method, q)
}
