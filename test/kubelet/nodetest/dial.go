package nodetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// dialOne connects a socket on this very thread.
func dialOne(ctx context.Context, _, host, port string) (net.Conn, error) {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	if !ip.Is4() {
		return nil, fmt.Errorf("%s: only IPv4 is dialled", ip)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // FileConn has a descriptor of its own
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(number), Addr: ip.As4()}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// Dial connects as if from inside the node's network.
func (n *Node) Dial(ctx context.Context, address string) (net.Conn, error) {
	return n.dial(ctx, "tcp", address)
}
