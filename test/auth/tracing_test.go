package auth

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"xebec.dev/test/apiservertest"
)

// collector takes spans of OpenTelemetry, as bytes.
type collector struct {
	mu  sync.Mutex
	all []byte // guarded by mu
}

func (c *collector) export(in *emptypb.Empty) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What Empty does not know it keeps.
	c.all = append(c.all, in.ProtoReflect().GetUnknown()...)
	return &emptypb.Empty{}, nil
}

func (c *collector) has(part string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.all, []byte(part))
}

func TestTracing(t *testing.T) {
	t.Parallel()
	c := &collector{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	g.RegisterService(&grpc.ServiceDesc{ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{method("Export", c.export)}}, struct{}{})
	go func() { _ = g.Serve(l) }() // until Stop
	t.Cleanup(g.Stop)
	config := write(t, filepath.Join(t.TempDir(), "tracing.yaml"), fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: %s\nsamplingRatePerMillion: 0\n", l.Addr()))
	s := apiservertest.Start(t, "--tracing-config-file="+config, "--token-auth-file="+tokens(t))
	parent := func(n byte) (string, string) {
		id := bytes.Repeat([]byte{n}, 16)
		return fmt.Sprintf("00-%x-%x-01", id, id[:8]), string(id)
	}
	header, masters := parent(0xa1)
	if err := call(t, s, admin(t, s).with("Traceparent", header), http.MethodGet, "/api/v1/namespaces/default/configmaps", nil, nil); err != nil {
		t.Fatal(err)
	}
	header, overGRPC := parent(0xb2)
	if _, err := doors[1].who(t, s, admin(t, s).with("Traceparent", header)); err != nil {
		t.Fatal(err)
	}
	header, strangers := parent(0xc3)
	if _, err := doors[0].who(t, s, bearer("other").with("Traceparent", header)); err != nil {
		t.Fatal(err)
	}
	// What is left is sent at the end.
	s.Stop(t)
	eventually(t, "the spans", func() error {
		for _, part := range []string{masters, overGRPC, "GET /api/v1/namespaces/{:namespace}/configmaps", "POST /apis/authentication.k8s.io/v1/selfsubjectreviews", "apiserver"} {
			if !c.has(part) {
				return fmt.Errorf("no %q", part)
			}
		}
		return nil
	})
	if c.has(strangers) {
		t.Error(errors.New("a stranger had its request traced"))
	}
}
