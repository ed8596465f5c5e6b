package server

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// tlsPair is both ends of a TLS connection over loopback.
func tlsPair(t *testing.T) (server, client *tls.Conn) {
	t.Helper()
	hs := httptest.NewTLSServer(nil)
	t.Cleanup(hs.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *tls.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(accepted)
			return
		}
		s := tls.Server(c, hs.TLS)
		_ = s.Handshake() // the client's end reports a failure
		accepted <- s
	}()
	client, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}) // loopback, a test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return <-accepted, client
}

// Writes small and large arrive whole and in order, the last before the end.
func TestBatchConnKeepsOrder(t *testing.T) {
	s, c := tlsPair(t)
	b := newBatchConn(s)
	var want []byte
	for i := range 3000 {
		size := 1 + i*37%3000
		if i%50 == 0 {
			size = 16 << 10
		}
		want = append(want, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(c) // compared below
		got <- all
	}()
	rest := want
	for i := range 3000 {
		size := 1 + i*37%3000
		if i%50 == 0 {
			size = 16 << 10
		}
		if n, err := b.Write(rest[:size]); n != size || err != nil {
			t.Fatal(n, err)
		}
		rest = rest[size:]
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes arrived of %d, or others", len(all), len(want))
	}
}

// A client that does not read holds a bounded number of bytes, and neither
// its writer nor Close waits for ever.
func TestBatchConnIsBounded(t *testing.T) {
	s, _ := tlsPair(t)
	b := newBatchConn(s)
	blocked := make(chan error, 1)
	go func() {
		for {
			if _, err := b.Write(make([]byte, 1000)); err != nil {
				blocked <- err
				return
			}
		}
	}()
	time.Sleep(200 * time.Millisecond)
	b.mu.Lock()
	if n := len(b.pending); n > writeAhead+1000 {
		t.Errorf("%d bytes are pending", n)
	}
	b.mu.Unlock()
	if err := b.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-blocked:
	case <-time.After(10 * time.Second):
		t.Fatal("a writer waits after the deadline")
	}
	_ = b.Close() // the connection is broken
}
