package h2

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestGRPC: gRPC's server works as a handler: calls, streams, errors in
// trailers, the end of a stream that its client leaves.
func TestGRPC(t *testing.T) {
	checks := health.NewServer()
	checks.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	g := grpc.NewServer()
	healthpb.RegisterHealthServer(g, checks)
	left := make(chan struct{}, 1)
	s := startTLS(t, New(Options{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/Watch") {
			left <- struct{}{}
		}
	}))
	conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "https://"), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.pool})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "up"})
	if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(resp, err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: strings.Repeat("unknown", 50_000)}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	watch, leave := context.WithCancel(ctx)
	stream, err := client.Watch(watch, &healthpb.HealthCheckRequest{Service: "up"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []healthpb.HealthCheckResponse_ServingStatus{1, 2, 1} {
		if i > 0 {
			checks.SetServingStatus("up", want)
		}
		if resp, err := stream.Recv(); err != nil || resp.Status != want {
			t.Fatal(resp, err)
		}
	}
	leave()
	select {
	case <-left:
	case <-time.After(long):
		t.Fatal("the server's side of the stream goes on")
	}
}
