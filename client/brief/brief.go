// Package brief has connections whose system calls cost the runtime's monitor
// no sleep.
package brief

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// conn reads and writes a TCP connection without telling the runtime of the
// system calls: on a socket that never blocks they are short. The runtime's
// monitor sleeps while a program has nothing to do, and each call that it is
// told of wakes it, for a millisecond of looking around every 20 µs: more
// processor time than most messages take.
type conn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// Conn wraps what is a TCP connection, and returns what is none as it is.
func Conn(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &conn{tcp, raw}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	var errno syscall.Errno
	waited := c.raw.Read(func(fd uintptr) bool {
		n, errno = transfer(syscall.SYS_READ, fd, b)
		return errno != syscall.EAGAIN
	})
	switch {
	case waited != nil:
		return 0, waited
	case errno != 0:
		return 0, c.failed("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	var errno syscall.Errno
	waited := c.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var k int
			if k, errno = Write(fd, b[n:]); errno != 0 {
				return errno != syscall.EAGAIN
			}
			n += k
		}
		return true
	})
	if waited == nil && errno != 0 {
		waited = c.failed("write", errno)
	}
	return n, waited
}

func (c *conn) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// Write is write(2) on a socket that doesn't block; EAGAIN when it has no room.
func Write(fd uintptr, b []byte) (int, syscall.Errno) { return transfer(syscall.SYS_WRITE, fd, b) }

// transfer reads into or writes b; 0 bytes with EAGAIN when the socket isn't
// ready.
func transfer(call, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
