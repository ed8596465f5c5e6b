package proxy

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rules hears of each change of nftables in the namespace.
type rules struct {
	fd  int
	buf []byte
}

// nftablesGroup is NFNLGRP_NFTABLES.
const nftablesGroup = 7

func listenRules(t testing.TB) *rules {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, nftablesGroup); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatal(err)
	}
	return &rules{fd: fd, buf: make([]byte, 1<<20)}
}

// wait gives the time at which an endpoint came into the rules.
func (r *rules) wait(t testing.TB, endpoint netip.Addr, limit time.Duration) time.Time {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		left := time.Until(deadline)
		if left <= 0 {
			t.Fatalf("%s is not in the rules after %v", endpoint, limit)
		}
		tv := unix.NsecToTimeval(int64(left))
		if err := unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Fatal(err)
		}
		n, _, err := unix.Recvfrom(r.fd, r.buf, 0)
		if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENOBUFS {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(r.buf[:n], endpoint.AsSlice()) {
			return time.Now()
		}
	}
}
