// Package h2 is the server side of HTTP/2 for connections with many watches
// and many small answers. It serves an ordinary http.Handler on
// golang.org/x/net/http2's framing and HPACK.
//
// What differs from net/http's server, and why it is cheaper:
//
//   - A connection has one goroutine that reads, and none that writes: an
//     answer is appended to the connection's buffer under a lock, headers, body
//     and end together, and goes out by one TLS write and one system call of
//     the goroutine that made it. What is appended while a write is on its way
//     goes out with the next one.
//   - Handlers run on goroutines that are kept, so their stacks have grown
//     already. A request that Options.Inline knows not to wait is handled by
//     the reader itself, which passes the reading on if the handler must wait
//     after all.
//   - Watches have one pump for a connection (Deliver): news wake it once, and
//     it sends what all of its streams have, without a goroutine switch for each.
//
// Goroutines: ServeConn's reads; each running handler has one; the pump has one
// while there are watches. All end with the connection.
package h2

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Options are the limits of connections; zero fields have defaults.
type Options struct {
	// MaxStreams is how many requests a client may have open on a connection; 250.
	MaxStreams uint32
	// StreamWindow and ConnWindow are how many bytes of bodies may be on their
	// way to a handler, and to all of a connection; 256 KB and 1 MB.
	StreamWindow, ConnWindow int32
	// MaxFrame is the greatest frame taken; 256 KB.
	MaxFrame uint32
	// MaxHeaderBytes bounds the headers of a request; 1 MB.
	MaxHeaderBytes uint32
	// IdleTimeout closes connections without requests; 0 is never.
	IdleTimeout time.Duration
	// Patience is how long a client may take no byte of what waits for it,
	// or no event of a watch; 30 s.
	Patience time.Duration
	// Inline says that a request's handler does not wait for anything but the
	// client; nil: none is known not to.
	Inline func(*http.Request) bool
	// Log gets panics of handlers; nil is the log package's.
	Log *log.Logger
}

// Server serves connections; make it with New.
type Server struct {
	o     Options
	feeds atomic.Int64 // watches of all connections

	mu       sync.Mutex // guards what follows
	conns    map[*conn]bool
	draining bool
}

// New makes a server.
func New(o Options) *Server {
	def := func(v *uint32, d uint32) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.MaxStreams, 250)
	def(&o.MaxFrame, 256<<10)
	def(&o.MaxHeaderBytes, 1<<20)
	if o.StreamWindow == 0 {
		o.StreamWindow = 256 << 10
	}
	if o.ConnWindow == 0 {
		o.ConnWindow = 1 << 20
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = log.Default()
	}
	return &Server{o: o, conns: map[*conn]bool{}}
}

// Configure has hs serve its HTTP/2 connections here; shutting hs down drains them.
func (s *Server) Configure(hs *http.Server) {
	if hs.TLSNextProto == nil {
		hs.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	hs.TLSNextProto[http2.NextProtoTLS] = func(_ *http.Server, c *tls.Conn, h http.Handler) {
		ctx := context.Background()
		if b, ok := h.(interface{ BaseContext() context.Context }); ok {
			ctx = b.BaseContext()
		}
		state := c.ConnectionState()
		s.serve(ctx, c, h, &state)
	}
	hs.RegisterOnShutdown(s.Drain)
}

// ServeConn serves one connection without TLS until it ends, and closes it.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, h http.Handler) {
	s.serve(ctx, nc, h, nil)
}

func (s *Server) serve(ctx context.Context, nc net.Conn, h http.Handler, state *tls.ConnectionState) {
	c := newConn(ctx, s, nc, h, state)
	s.mu.Lock()
	s.conns[c] = true
	draining := s.draining
	s.mu.Unlock()
	if draining {
		c.drain()
	}
	c.serve()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Drain tells clients to go elsewhere; connections end with their last request.
// It does not wait for them.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.drain()
	}
}

// weak reports the cipher suites of TLS 1.2 that RFC 9113 forbids.
func weak(state *tls.ConnectionState) bool {
	if state == nil || state.Version > tls.VersionTLS12 {
		return false
	}
	switch state.CipherSuite {
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return false
	}
	return true
}
