package probe

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lingerNone closes with a reset after at most a second.
func lingerNone(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 1})
	}); e != nil {
		return e
	}
	return err
}
