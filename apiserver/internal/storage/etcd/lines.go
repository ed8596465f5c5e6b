package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"xebec.dev/client/brief"
)

// lines are connections for short calls. They are an optimisation and nothing
// waits for them: a call that finds none free goes the client library's way,
// which also knows how to wait for an etcd that is not there.
type lines struct {
	endpoints []endpoint
	tls       *tls.Config
	timeout   time.Duration // for one attempt to connect
	dead      time.Duration // without acknowledgement, after which the kernel gives up
	alive     time.Duration // how often a feed must hear something
	log       *zap.Logger

	mu sync.Mutex
	// guarded by mu
	idle    []*line
	open    int // idle or in use
	dialing bool
	closed  bool
	at      int // the endpoint to try next
	retry   time.Time
}

// maxLines is for the transactions under way, a question for the revision and
// one more.
const maxLines = 5

// redial is the pause after an attempt to connect that failed.
const redial = 500 * time.Millisecond

type endpoint struct {
	network, address, host string
	secure                 bool
}

// parseEndpoint understands what the client library does.
func parseEndpoint(s string, withTLS bool) (endpoint, error) {
	if !strings.Contains(s, "://") {
		return endpoint{"tcp", s, s, withTLS}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, err
	}
	switch u.Scheme {
	case "http", "https":
		return endpoint{"tcp", u.Host, u.Host, u.Scheme == "https"}, nil
	case "unix", "unixs":
		return endpoint{"unix", u.Host + u.Path, "localhost", u.Scheme == "unixs"}, nil
	}
	return endpoint{}, fmt.Errorf("unknown scheme in %q", s)
}

func newLines(c Config, t *tls.Config, log *zap.Logger) *lines {
	p := &lines{tls: t, timeout: or(c.KeepaliveTimeout, 3*time.Second), dead: or(c.KeepaliveTimeout, 3*time.Second), alive: or(c.KeepaliveTime, 10*time.Second), log: log}
	for _, s := range c.Endpoints {
		e, err := parseEndpoint(s, t != nil)
		if err != nil {
			// The client library will say what is wrong with it.
			p.endpoints = nil
			return p
		}
		p.endpoints = append(p.endpoints, e)
	}
	return p
}

// take is a line that is free, or nil.
func (p *lines) take() *line {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		l := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		return l
	}
	if p.open < maxLines && !p.dialing && !p.closed && len(p.endpoints) > 0 && !time.Now().Before(p.retry) {
		p.dialing = true
		go p.dial(p.endpoints[p.at%len(p.endpoints)])
	}
	return nil
}

func (p *lines) put(l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || l.leaving || l.next > lastStream {
		p.open--
		l.close()
		return
	}
	p.idle = append(p.idle, l)
}

// drop gives up a line that failed. The next one goes to another member.
func (p *lines) drop(l *line) {
	l.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.at++
}

// next is the member to connect to; another one is tried after it failed.
func (p *lines) next() endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.endpoints[p.at%len(p.endpoints)]
}

func (p *lines) another() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at++
}

func (p *lines) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.idle {
		l.close()
	}
	p.idle = nil
}

func (p *lines) dial(e endpoint) {
	l, err := p.connect(context.Background(), e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = false
	switch {
	case err != nil:
		p.at++
		p.retry = time.Now().Add(redial)
		p.log.Debug("no connection for short calls", zap.String("endpoint", e.address), zap.Error(err))
	case p.closed:
		l.close()
	default:
		p.open++
		p.idle = append(p.idle, l)
	}
}

func (p *lines) connect(ctx context.Context, e endpoint) (*line, error) {
	deadline := time.Now().Add(p.timeout)
	d := net.Dialer{Deadline: deadline, Control: p.giveUp}
	socket, err := d.DialContext(ctx, e.network, e.address)
	if err != nil {
		return nil, err
	}
	if err := socket.SetDeadline(deadline); err != nil {
		socket.Close()
		return nil, err
	}
	socket = brief.Conn(socket)
	conn := socket
	if e.secure {
		config := p.tls.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.NextProtos = []string{"h2"}
		if host, _, err := net.SplitHostPort(e.host); err == nil && config.ServerName == "" {
			config.ServerName = host
		}
		conn = tls.Client(socket, config)
	}
	l, err := newLine(conn, socket.(syscall.Conn), e.host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// giveUp makes the kernel end a connection whose other side is gone.
func (p *lines) giveUp(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	const userTimeout = 18 // TCP_USER_TIMEOUT, in milliseconds
	var err error
	if e := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(p.dead.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}

// shortCalls sends reads and transactions over lines.
type shortCalls struct {
	pb.KVClient
	lines *lines
}

// Range reads.
func (s shortCalls) Range(ctx context.Context, r *pb.RangeRequest, opts ...grpc.CallOption) (*pb.RangeResponse, error) {
	response := new(pb.RangeResponse)
	done, err := s.lines.read(ctx, "/etcdserverpb.KV/Range", r, func(b []byte) error { return proto.Unmarshal(b, response) })
	if !done {
		return s.KVClient.Range(ctx, r, opts...)
	}
	return response, err
}

// Txn writes.
func (s shortCalls) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	response := new(pb.TxnResponse)
	done, err := s.lines.write(ctx, "/etcdserverpb.KV/Txn", r, func(b []byte) error { return proto.Unmarshal(b, response) })
	if !done {
		return s.KVClient.Txn(ctx, r, opts...)
	}
	return response, err
}

// read makes a call that may be made twice. It is not done where there is no
// line, or where one failed: the client library tries again. open reads the
// answer and keeps nothing of it.
func (p *lines) read(ctx context.Context, method string, request proto.Message, open func([]byte) error) (done bool, err error) {
	l := p.take()
	if l == nil {
		return false, nil
	}
	err = p.invoke(ctx, l, method, request, open)
	if broken := (*errLine)(nil); errors.As(err, &broken) || status.Code(err) == codes.Unavailable {
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return true, status.Error(codes.DeadlineExceeded, err.Error())
		}
		return false, nil
	}
	return true, err
}

// write makes a call that is not done only if it was certainly not sent.
func (p *lines) write(ctx context.Context, method string, request proto.Message, open func([]byte) error) (done bool, err error) {
	l := p.take()
	for l != nil {
		if err := l.settle(time.Now().Add(p.timeout)); err == nil {
			break
		}
		p.drop(l)
		l = p.take()
	}
	if l == nil {
		return false, nil
	}
	err = p.invoke(ctx, l, method, request, open)
	if broken := (*errLine)(nil); errors.As(err, &broken) {
		switch {
		case !broken.sent:
			return false, nil
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return true, status.Error(codes.DeadlineExceeded, err.Error())
		}
		return true, status.Error(codes.Unavailable, err.Error())
	}
	return true, err
}

// callTimeout is for calls whose context has no deadline.
const callTimeout = 10 * time.Second

// bodies are buffers for requests: a group of writes takes 100 KB or more.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// invoke makes a call and gives the line back, or up.
func (p *lines) invoke(ctx context.Context, l *line, method string, request proto.Message, open func([]byte) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(callTimeout)
	}
	whole := bodies.Get().(*[]byte)
	body, err := proto.MarshalOptions{}.MarshalAppend(append((*whole)[:0], make([]byte, 5)...), request)
	if err != nil {
		p.put(l)
		return err
	}
	defer func() {
		*whole = body
		bodies.Put(whole)
	}()
	stop := context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Unix(1, 0)) })
	answer, err := l.call(method, body, deadline)
	var opened error
	if err == nil {
		opened = open(answer)
		l.keep(answer)
	}
	var broken *errLine
	switch code := status.Code(err); {
	case !stop(): // the deadline is void, or will be
		p.drop(l)
	case errors.As(err, &broken), code == codes.Unavailable, code == codes.DeadlineExceeded:
		// This member is gone, or has no leader: another one may.
		p.drop(l)
	default:
		p.put(l)
	}
	if err != nil {
		return err
	}
	return opened
}
