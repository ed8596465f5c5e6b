package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const (
	// writeThrough: larger writes go out at once, without a copy.
	writeThrough = 8 << 10
	// writeAhead is how many bytes may wait for a connection that does not
	// take more.
	writeAhead = 128 << 10
	// closeWait is how long the last bytes may take when a connection ends.
	closeWait = 5 * time.Second
)

// batchConn gathers the writes of an HTTP/2 server. It hands a connection's
// frames to the kernel in pieces of 4 KB, one by one: with many watches on a
// connection an event costs a TLS record and a system call for each of them.
// Here, what is written while another write is on its way, or has yet to be
// scheduled, goes out together.
type batchConn struct {
	*tls.Conn
	mu      sync.Mutex // guards what follows
	changed sync.Cond  // the writer has taken bytes, or ended
	pending []byte
	writing bool // a writer is on its way, and no one else writes
	err     error
}

var batchBuffers = sync.Pool{New: func() any { return new([]byte) }}

func newBatchConn(c *tls.Conn) *batchConn {
	b := &batchConn{Conn: c}
	b.changed.L = &b.mu
	return b
}

// Write may return before the bytes have left; an error shows at a later one.
func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.writing && len(b.pending) >= writeAhead && b.err == nil {
		b.changed.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	if !b.writing && len(p) >= writeThrough {
		b.writing = true
		b.mu.Unlock()
		n, err := b.Conn.Write(p)
		b.mu.Lock()
		b.writing, b.err = false, err
		b.changed.Broadcast()
		return n, err
	}
	if b.pending == nil {
		b.pending = (*batchBuffers.Get().(*[]byte))[:0]
	}
	b.pending = append(b.pending, p...)
	if !b.writing {
		b.writing = true
		go b.drain()
	}
	return len(p), nil
}

// drain writes until nothing is pending.
func (b *batchConn) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && len(b.pending) > 0 {
		out := b.pending
		b.pending = nil
		b.changed.Broadcast()
		b.mu.Unlock()
		_, err := b.Conn.Write(out)
		batchBuffers.Put(&out)
		b.mu.Lock()
		b.err = err
	}
	b.writing, b.pending = false, nil
	b.changed.Broadcast()
}

// Close lets what was written go out first.
func (b *batchConn) Close() error {
	_ = b.SetWriteDeadline(time.Now().Add(closeWait)) // a closed connection has no writer to wait for
	b.mu.Lock()
	for b.writing {
		b.changed.Wait()
	}
	b.mu.Unlock()
	return b.Conn.Close()
}

// serveHTTP2 has the server's HTTP/2 connections write in batches.
func serveHTTP2(srv *http.Server, h2 *http2.Server) {
	srv.TLSNextProto[http2.NextProtoTLS] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
		o := &http2.ServeConnOpts{Handler: h, BaseConfig: srv}
		if b, ok := h.(interface{ BaseContext() context.Context }); ok {
			o.Context = b.BaseContext()
		}
		h2.ServeConn(newBatchConn(c), o)
	}
}
