// Package etcdproxy stands between an API server and etcd and knows their
// calls: it can hold back watches alone, lose the answer to a transaction
// that etcd has committed, and hold back everything.
package etcdproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Proxy is a running proxy.
type Proxy struct {
	// URL to give to the API server.
	URL string

	server *grpc.Server
	conn   *grpc.ClientConn

	mu      sync.Mutex
	watches gate // guarded by mu
	all     gate // guarded by mu
	txns    int  // guarded by mu; transactions answered
	lose    int  // guarded by mu; the number of the one to lose, 0 for none
	lost    chan struct{}
}

// gate is open while it is nil, and opens by being closed.
type gate chan struct{}

// Start runs a proxy to etcd at host:port until the test ends.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(verbatim{}), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{URL: fmt.Sprintf("http://%s", l.Addr()), conn: conn}
	p.server = grpc.NewServer(grpc.ForceServerCodecV2(verbatim{}), grpc.UnknownServiceHandler(p.forward), grpc.MaxRecvMsgSize(1<<30))
	go func() { _ = p.server.Serve(l) }() // ends with Stop
	t.Cleanup(func() {
		p.server.Stop()
		_ = conn.Close() // nobody uses it any more
	})
	return p
}

// FreezeWatches holds back what etcd tells watchers; nothing is lost.
func (p *Proxy) FreezeWatches(on bool) { p.set(&p.watches, on) }

// Blackhole holds back every answer.
func (p *Proxy) Blackhole(on bool) { p.set(&p.all, on) }

func (p *Proxy) set(g *gate, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && *g == nil:
		*g = make(gate)
	case !on && *g != nil:
		close(*g)
		*g = nil
	}
}

// LoseReply breaks off the call of the n-th transaction from now, after etcd
// has answered it. The channel is closed when that has happened.
func (p *Proxy) LoseReply(n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.lost = p.txns+n, make(chan struct{})
	return p.lost
}

// pass waits for the gates that a call's answers have to pass.
func (p *Proxy) pass(ctx context.Context, method string) error {
	for {
		p.mu.Lock()
		g := p.all
		if g == nil && strings.HasSuffix(method, "/Watch") {
			g = p.watches
		}
		p.mu.Unlock()
		if g == nil {
			return nil
		}
		select {
		case <-g:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errLost = status.Error(codes.Unavailable, "error reading from server: EOF")

func (p *Proxy) answered(method string) error {
	if !strings.HasSuffix(method, "/Txn") {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.txns++
	if p.lose == 0 || p.txns != p.lose {
		return nil
	}
	p.lose = 0
	close(p.lost)
	return errLost
}

func (p *Proxy) forward(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	out, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		for {
			var m []byte
			if in.RecvMsg(&m) != nil {
				_ = out.CloseSend() // what went wrong shows below
				return
			}
			if out.SendMsg(&m) != nil {
				return
			}
		}
	}()
	for {
		var m []byte
		if err := out.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := p.pass(ctx, method); err != nil {
			return err
		}
		if err := p.answered(method); err != nil {
			return err
		}
		if err := in.SendMsg(&m); err != nil {
			return err
		}
	}
}

// verbatim passes messages as their bytes.
type verbatim struct{}

func (verbatim) Name() string { return "proto" }

func (verbatim) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (verbatim) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
