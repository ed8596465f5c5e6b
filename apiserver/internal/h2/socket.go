package h2

import (
	"net"
	"sync"
	"syscall"
	"time"

	"xebec.dev/client/brief"
)

// Listen has connections of l know when a write would block, and write the
// records of several TLS writes by one system call. TLS goes over it.
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newSocket(c), nil
}

// socket is a connection below TLS. Until cork is called it writes through.
type socket struct {
	net.Conn
	raw  syscall.RawConn // nil: it can't be asked whether a write would block
	once func(fd uintptr) bool

	mu sync.Mutex
	// guarded by mu
	corked bool
	buf    *[]byte // what waits for uncork
	broken error   // of a write: nothing is written after it
	data   []byte  // once's argument, and its results
	n      int
	err    error

	// blocked is called, by a writer that is about to wait for the client.
	blocked  func()
	patience time.Duration
}

func newSocket(c net.Conn) *socket {
	c = brief.Conn(c)
	s := &socket{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.once = func(fd uintptr) bool {
		var errno syscall.Errno
		s.n, errno = brief.Write(fd, s.data)
		s.err = nil
		if errno != 0 {
			s.err = errno
		}
		return true
	}
	return s
}

// ReadFrom and the like of the connection are hidden: TLS doesn't use them.

func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.corked {
		if s.buf == nil {
			s.buf = buffers.Get().(*[]byte)
		}
		*s.buf = append(*s.buf, p...)
		return len(p), nil
	}
	if s.blocked == nil {
		return s.Conn.Write(p)
	}
	return s.send(p)
}

func (s *socket) cork() {
	s.mu.Lock()
	s.corked = true
	s.mu.Unlock()
}

func (s *socket) uncork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	if s.buf == nil {
		return nil
	}
	_, err := s.send(*s.buf)
	release(s.buf)
	s.buf = nil
	return err
}

// pieceOfSend is what a slow client must take within its patience.
const pieceOfSend = 16 << 10

// send writes all of p. It needs mu.
func (s *socket) send(p []byte) (int, error) {
	if s.broken != nil {
		return 0, s.broken
	}
	n, err := s.sendAll(p)
	s.broken = err
	return n, err
}

func (s *socket) sendAll(p []byte) (int, error) {
	done := 0
	if s.raw != nil {
		s.data = p
		err := s.raw.Write(s.once)
		s.data = nil
		if err != nil {
			return 0, err
		}
		if s.err != nil && s.err != syscall.EAGAIN {
			return 0, s.err
		}
		done = max(s.n, 0)
	}
	if done == len(p) {
		return done, nil
	}
	if s.blocked != nil {
		s.blocked()
	}
	for done < len(p) {
		if s.patience > 0 {
			_ = s.SetWriteDeadline(time.Now().Add(s.patience)) // a closed connection shows at the write
		}
		n, err := s.Conn.Write(p[done:min(len(p), done+pieceOfSend)])
		done += n
		if err != nil {
			return done, err
		}
	}
	if s.patience > 0 {
		_ = s.SetWriteDeadline(time.Time{})
	}
	return done, nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// keepBuffer is the capacity up to which buffers are used again.
const keepBuffer = 512 << 10

func release(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
