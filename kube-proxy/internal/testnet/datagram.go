package testnet

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// ServeUDP answers each packet with a name.
func ServeUDP(t testing.TB, s Space, name, at string) {
	t.Helper()
	var c net.PacketConn
	s.In(t, func() (err error) { c, err = net.ListenPacket("udp", at); return err })
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(name), from) // the client asks again
		}
	}()
}

// AskUDP sends packets until the one who answers has a name.
func AskUDP(c net.Conn, name string) error {
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		buf := make([]byte, 64)
		_, err := c.Write([]byte("?"))
		if err == nil {
			if err = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				return err
			}
			var n int
			if n, err = c.Read(buf); err == nil && string(buf[:n]) == name {
				return nil
			}
			got = string(buf[:n])
		}
		if err != nil {
			got = err.Error()
		}
	}
	return fmt.Errorf("%s never answers; the last was %q", name, got)
}
