package brief

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func briefPair(t *testing.T) (*conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	b, ok := Conn(c).(*conn)
	if !ok {
		t.Fatal("a TCP connection is not wrapped")
	}
	return b, peer.(*net.TCPConn)
}

// TestBriefCarriesAll: more than the kernel's buffers hold, both ways at once,
// so that reads and writes have to wait.
func TestBriefCarriesAll(t *testing.T) {
	c, peer := briefPair(t)
	go func() {
		_, _ = io.Copy(peer, peer)
		_ = peer.CloseWrite()
	}()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() {
		if n, err := c.Write(data); err != nil || n != len(data) {
			t.Errorf("wrote %d of %d: %v", n, len(data), err)
		}
		_ = c.CloseWrite()
	}()
	back, err := io.ReadAll(c)
	if err != nil || sha256.Sum256(back) != sha256.Sum256(data) {
		t.Errorf("%d of %d bytes came back: %v", len(back), len(data), err)
	}
}

// TestBriefEnds: deadlines, a connection that is closed here and one that is
// reset there are errors as net's are.
func TestBriefEnds(t *testing.T) {
	c, peer := briefPair(t)
	if err := c.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	_ = peer.SetLinger(0)
	_ = peer.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
	c, _ = briefPair(t)
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	_ = c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}
