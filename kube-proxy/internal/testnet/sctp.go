package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// sctpSocket is bound to one address: SCTP tells its peer of all that a
// socket has, and they are not translated.
func sctpSocket(at netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return -1, fmt.Errorf("make an SCTP socket: %w", err)
	}
	wait := unix.Timeval{Sec: 10}
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait),
		unix.Bind(fd, sockaddr(at)))
	if err != nil {
		_ = unix.Close(fd) // the error is the news
		return -1, err
	}
	return fd, nil
}

func sockaddr(at netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
}

// serveSCTP answers associations with a name and the caller's address.
func serveSCTP(t testing.TB, s Space, name, at string) {
	t.Helper()
	var l int
	s.In(t, func() (err error) {
		if l, err = sctpSocket(netip.MustParseAddrPort(at)); err == nil {
			err = errors.Join(unix.SetsockoptTimeval(l, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{}), unix.Listen(l, 8))
		}
		return err
	})
	t.Cleanup(func() { _ = unix.Shutdown(l, unix.SHUT_RDWR) })
	go func() {
		defer func() { _ = unix.Close(l) }()
		for {
			c, from, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			if a, ok := from.(*unix.SockaddrInet4); ok {
				_, _ = unix.Write(c, []byte(name+" "+netip.AddrFrom4(a.Addr).String())) // the client says what it missed
			}
			_ = unix.Close(c)
		}
	}()
}

func callSCTP(s Space, from, to string) (seen string, err error) {
	err = s.Try(func() error {
		fd, err := sctpSocket(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Connect(fd, sockaddr(netip.MustParseAddrPort(to))); err != nil {
			return fmt.Errorf("connect to %s: %w", to, err)
		}
		buf := make([]byte, 64)
		n, err := unix.Read(fd, buf)
		seen = string(buf[:max(n, 0)])
		return err
	})
	return seen, err
}

// SCTP checks that associations reach both endpoints of a service, with the
// caller's address or the node's; it needs a kernel with SCTP.
func SCTP(t *testing.T, w *World, sync func(testing.TB, *compile.Update)) {
	serveSCTP(t, w.Pod, "pod", "10.244.0.2:9000")
	serveSCTP(t, w.Outside, "far", "192.168.9.3:9000")
	const endpoints = 2
	pool := PoolOf(compile.OffCluster, "10.244.0.2:9000", "192.168.9.3:9000")
	s := Service("x/sctp", Frontend(compile.ClusterIP, "10.96.0.8:80", pool), Frontend(compile.NodePort, "0.0.0.0:30008", PoolOf(compile.Always, "10.244.0.2:9000")),
		Frontend(compile.ClusterIP, "10.96.0.9:80", compile.Pool{}))
	for i := range s.Frontends {
		s.Frontends[i].Protocol = unix.IPPROTO_SCTP
	}
	sync(t, Full(s))
	answered := map[string]bool{}
	for range 40 {
		seen, err := callSCTP(w.Other, "10.244.0.3", "10.96.0.8:80")
		if errors.Is(err, unix.EINTR) {
			continue // the runtime's signals, as everywhere
		}
		if err != nil {
			t.Fatal(err)
		}
		answered[seen] = true
		if len(answered) == endpoints {
			break
		}
	}
	if !answered["pod 10.244.0.3"] || !answered["far 10.244.0.3"] {
		t.Errorf("from a pod: %v", answered)
	}
	for _, c := range []struct{ space, from, to, seen string }{
		{"outside", "192.168.9.2", "192.168.9.1:30008", "pod 10.244.0.1"},
		{"node", "192.168.9.1", "192.168.9.1:30008", "pod 10.244.0.1"},
	} {
		if seen, err := callSCTP(w.Space(c.space), c.from, c.to); err != nil || seen != c.seen {
			t.Errorf("from %s to %s: %q, %v", c.space, c.to, seen, err)
		}
	}
	if seen, err := callSCTP(w.Other, "10.244.0.3", "10.96.0.9:80"); err == nil {
		t.Errorf("a service without endpoints answers %q", seen)
	}
}
