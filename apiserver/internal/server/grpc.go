package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
)

// grpcProtocol is what our own clients ask for in the TLS handshake, to be
// handed to gRPC's transport at once.
const grpcProtocol = "xebec-grpc"

// listener passes connections whose handshake chose gRPC to its server.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand is a TLSNextProto function. net/http closes the connection when it
// returns, so it stays until gRPC has closed it.
func (l *listener) hand(_ *http.Server, c *tls.Conn, _ http.Handler) {
	held := &heldConn{Conn: c, closed: make(chan struct{})}
	select {
	case l.conns <- held:
		<-held.closed
	case <-l.done:
	}
}

type heldConn struct {
	*tls.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// both sends gRPC of ordinary clients, which come by plain HTTP/2, to its
// server, and everything else to REST.
func both(grpc, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			grpc.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
