package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	spdyUpgrade = "SPDY/3.1"
	dialTime    = 10 * time.Second
	// longestRefusal is how much of a refusal's text is passed on, in bytes.
	longestRefusal = 64 << 10
)

// refusal is the runtime's answer other than a switch of protocols.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the container runtime answered %d: %s", r.code, r.text)
}

// runtimeConn is a connection to the runtime's streaming server that speaks
// SPDY by now.
type runtimeConn struct {
	net.Conn
	buffered *bufio.Reader
	// protocol is the one of those offered that the runtime chose.
	protocol string
}

func (c *runtimeConn) Read(p []byte) (int, error) { return c.buffered.Read(p) }

// dialRuntime opens the URL that the runtime gave out for one stream. Only
// that server is reached: redirects are not followed.
func dialRuntime(ctx context.Context, target string, protocols []string) (*runtimeConn, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("the container runtime's streaming URL %q is not of the form http://host:port/…; streaming over TLS between the two is not supported: turn it off in the runtime", target)
	}
	dialer := net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("dial the container runtime's streaming server: %w", err)
	}
	c, err := upgrade(conn, u, protocols)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func upgrade(conn net.Conn, u *url.URL, protocols []string) (*runtimeConn, error) {
	q, err := http.NewRequest(http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Connection", "Upgrade")
	q.Header.Set("Upgrade", spdyUpgrade)
	for _, p := range protocols {
		q.Header.Add("X-Stream-Protocol-Version", p)
	}
	if err := conn.SetDeadline(time.Now().Add(dialTime)); err != nil {
		return nil, err
	}
	if err := q.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(resp.Header.Get("Upgrade"), spdyUpgrade) {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, longestRefusal)) // what came is shown
		code := resp.StatusCode
		if code < http.StatusBadRequest {
			code = http.StatusBadGateway // neither a redirect nor a page
		}
		return nil, &refusal{code, strings.TrimSpace(string(text))}
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &runtimeConn{Conn: conn, buffered: in, protocol: resp.Header.Get("X-Stream-Protocol-Version")}, nil
}

// idleConn ends a connection on which nothing happens.
type idleConn struct {
	net.Conn
	limit time.Duration
}

func (s *Server) idle(c net.Conn) *idleConn { return &idleConn{c, or(s.o.IdleTimeout, defaultIdle)} }

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) Write(p []byte) (int, error) {
	// Output counts as something that happens.
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
