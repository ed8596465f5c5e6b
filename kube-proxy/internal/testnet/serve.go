package testnet

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Serve answers each TCP connection with a name and the caller's address, and
// counts them.
func Serve(t testing.TB, s Space, name, at string) *atomic.Int64 {
	t.Helper()
	var l net.Listener
	s.In(t, func() (err error) { l, err = net.Listen("tcp", at); return err })
	t.Cleanup(func() { l.Close() })
	n := &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			fmt.Fprint(c, name, " ", c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	return n
}

// Echo sends back what comes, on each connection until it ends.
func Echo(t testing.TB, s Space, at string) {
	t.Helper()
	var l net.Listener
	s.In(t, func() (err error) { l, err = net.Listen("tcp", at); return err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }() // the client is gone
		}
	}()
}

// Call says who answered and whom it saw; from is the own address, or empty.
func Call(s Space, from, to string) (seen string, err error) {
	err = s.Try(func() error {
		d := net.Dialer{Timeout: 2 * time.Second}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err := d.Dial("tcp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		seen = string(text)
		return err
	})
	return seen, err
}

// Who answers, of "web 10.0.0.1".
func Who(seen string) string {
	name, _, _ := strings.Cut(seen, " ")
	return name
}

// DialMany makes n connections, one after the other, and fails only when the
// service does.
func DialMany(s Space, to string, n int) error {
	return s.Try(func() error {
		for i := range n {
			c, err := net.DialTimeout("tcp", to, 5*time.Second)
			if err != nil {
				return fmt.Errorf("dial %d: %w", i, err)
			}
			_, err = io.ReadAll(c)
			c.Close()
			if err != nil {
				return fmt.Errorf("dial %d: %w", i, err)
			}
		}
		return nil
	})
}
