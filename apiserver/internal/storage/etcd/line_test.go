package etcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// keys is etcd's KV service as far as a line's behaviour needs it.
type keys struct {
	pb.UnimplementedKVServer
	mu sync.Mutex
	// guarded by mu
	calls int
	fail  error
	stuck chan struct{}
}

func (k *keys) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	k.mu.Lock()
	k.calls++
	fail, stuck := k.fail, k.stuck
	k.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	// Answers as long as they were asked to be.
	return &pb.RangeResponse{
		Header: &pb.ResponseHeader{Revision: 7},
		Kvs:    []*mvccpb.KeyValue{{Key: r.Key, Value: bytes.Repeat([]byte("v"), int(r.Limit))}},
	}, nil
}

func (k *keys) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	n := len(r.Success[0].GetRequestPut().Value)
	return &pb.TxnResponse{Succeeded: true, Header: &pb.ResponseHeader{Revision: int64(n)}}, k.fail
}

func (k *keys) set(fail error, stuck chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail, k.stuck = fail, stuck
}

func serve(t *testing.T, k pb.KVServer) (string, *grpc.Server) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(1 << 30))
	pb.RegisterKVServer(s, k)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String(), s
}

// absent is the client library's way: it must not be taken.
type absent struct{ pb.KVClient }

var errLibrary = errors.New("went the library's way")

func (absent) Range(context.Context, *pb.RangeRequest, ...grpc.CallOption) (*pb.RangeResponse, error) {
	return nil, errLibrary
}

func (absent) Txn(context.Context, *pb.TxnRequest, ...grpc.CallOption) (*pb.TxnResponse, error) {
	return nil, errLibrary
}

func connected(t *testing.T, endpoints ...string) shortCalls {
	p := newLines(Config{Endpoints: endpoints}, nil, zap.NewNop())
	t.Cleanup(p.close)
	s := shortCalls{absent{}, p}
	s.open(t)
	return s
}

// open waits until there is a free line.
func (s shortCalls) open(t *testing.T) {
	for range 1000 {
		if l := s.lines.take(); l != nil {
			s.lines.put(l)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no line to the server")
}

func put(n int) *pb.TxnRequest {
	return &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Value: make([]byte, n)}}}}}
}

// Requests larger than the server's window, answers larger than a frame.
func TestLineSizes(t *testing.T) {
	address, _ := serve(t, &keys{})
	s := connected(t, address)
	// Megabytes under the race detector on a busy machine can take longer than
	// a call has.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, n := range []int{0, 1, 100, 4 << 10, 16<<10 - 1, 16 << 10, 65535, 65536, 1 << 20, 3 << 20, 5} {
		r, err := s.Range(ctx, &pb.RangeRequest{Key: []byte("key"), Limit: int64(n)})
		if err != nil || len(r.Kvs[0].Value) != n || string(r.Kvs[0].Key) != "key" {
			t.Fatalf("an answer of %d bytes: %v", n, err)
		}
		w, err := s.Txn(ctx, put(n))
		if err != nil || w.Header.Revision != int64(n) {
			t.Fatalf("a request of %d bytes: %v, %v", n, w, err)
		}
	}
	if s.lines.open != 1 {
		t.Errorf("%d lines for calls one after the other", s.lines.open)
	}
}

// A status of etcd's is told as the client library tells it.
func TestLineStatus(t *testing.T) {
	k := &keys{}
	address, _ := serve(t, k)
	s := connected(t, address)
	k.set(rpctypes.ErrGRPCCompacted, nil)
	if _, err := s.Range(t.Context(), &pb.RangeRequest{}); rpctypes.Error(err) != rpctypes.ErrCompacted {
		t.Errorf("a compacted revision: %v", err)
	}
	odd := "100 % wrong: \"ü\"\n"
	k.set(status.Error(codes.FailedPrecondition, odd), nil)
	if _, err := s.Txn(t.Context(), put(1)); status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != odd {
		t.Errorf("got %v", err)
	}
	if s.lines.open != 1 {
		t.Errorf("a refusal cost the line")
	}
	k.set(rpctypes.ErrGRPCNoLeader, nil)
	if _, err := s.Txn(t.Context(), put(1)); rpctypes.Error(err) != rpctypes.ErrNoLeader {
		t.Errorf("no leader: %v", err)
	}
	if s.lines.open != 0 {
		t.Errorf("the line to a member without a leader is kept")
	}
}

// A server that stopped between calls: a write was certainly not sent, so the
// client library may try it.
func TestLineClosedBetweenCalls(t *testing.T) {
	for name, stop := range map[string]func(*grpc.Server){"killed": (*grpc.Server).Stop, "graceful": (*grpc.Server).GracefulStop} {
		t.Run(name, func(t *testing.T) {
			address, server := serve(t, &keys{})
			s := connected(t, address)
			stopped := make(chan struct{})
			go func() { stop(server); close(stopped) }()
			if name == "killed" {
				<-stopped
			}
			// A graceful stop waits for its connections, and takes a moment to
			// say so.
			var err error
			for err == nil {
				_, err = s.Txn(t.Context(), put(1))
			}
			if err != errLibrary {
				t.Errorf("a write after the server's end: %v", err)
			}
			if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err != errLibrary {
				t.Errorf("a read after the server's end: %v", err)
			}
		})
	}
}

// A connection that breaks under a write leaves it open what happened.
func TestLineBreaks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f := http2.NewFramer(c, c)
			_ = f.WriteSettings()
			b := make([]byte, len(http2.ClientPreface))
			_, _ = c.Read(b)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					break
				}
				if frame.Header().Type == http2.FrameData {
					break // the whole request was read, and nothing is answered
				}
			}
			c.Close()
		}
	}()
	s := connected(t, l.Addr().String())
	if _, err := s.Txn(t.Context(), put(1)); status.Code(err) != codes.Unavailable {
		t.Errorf("a write under which the connection broke: %v", err)
	}
	s.open(t)
	if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err != errLibrary {
		t.Errorf("a read under which the connection broke: %v", err)
	}
}

// A call ends at its deadline, and takes its line with it.
func TestLineDeadline(t *testing.T) {
	k := &keys{}
	address, _ := serve(t, k)
	s := connected(t, address)
	stuck := make(chan struct{})
	defer close(stuck)
	k.set(nil, stuck)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Range(ctx, &pb.RangeRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	if s.lines.open != 0 {
		t.Error("a line whose answer is still to come is kept")
	}
	k.set(nil, nil)
	s.open(t)
	if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err != nil {
		t.Error(err)
	}
}

// A call ends with its context too.
func TestLineCancelled(t *testing.T) {
	k := &keys{}
	address, _ := serve(t, k)
	s := connected(t, address)
	stuck := make(chan struct{})
	defer close(stuck)
	k.set(nil, stuck)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for { // once it is under way
			k.mu.Lock()
			n := k.calls
			k.mu.Unlock()
			if n > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	began := time.Now()
	if _, err := s.Range(ctx, &pb.RangeRequest{}); status.Code(err) != codes.DeadlineExceeded || time.Since(began) > callTimeout {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	if s.lines.open != 0 {
		t.Error("a line whose answer is still to come is kept")
	}
}

// Calls side by side each have a line; those that find none go the library's way.
func TestLinesAreBounded(t *testing.T) {
	k := &keys{}
	address, _ := serve(t, k)
	s := connected(t, address)
	stuck := make(chan struct{})
	k.set(nil, stuck)
	var wg sync.WaitGroup
	var answered sync.Map
	for i := range maxLines {
		s.open(t)
		wg.Go(func() {
			if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err == nil {
				answered.Store(i, true)
			}
		})
		for {
			k.mu.Lock()
			n := k.calls
			k.mu.Unlock()
			if n == i+1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err != errLibrary {
		t.Errorf("one call too many: %v", err)
	}
	close(stuck)
	wg.Wait()
	for i := range maxLines {
		if _, ok := answered.Load(i); !ok {
			t.Errorf("call %d failed", i)
		}
	}
}

// A member that does not answer the phone is passed over.
func TestLinesNextMember(t *testing.T) {
	address, _ := serve(t, &keys{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := connected(t, "http://"+l.Addr().String(), "http://"+address)
	if _, err := s.Range(t.Context(), &pb.RangeRequest{}); err != nil {
		t.Error(err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:2379":         "tcp 127.0.0.1:2379 true",
		"http://127.0.0.1:2379":  "tcp 127.0.0.1:2379 false",
		"https://[::1]:2379":     "tcp [::1]:2379 true",
		"unix:///run/etcd.sock":  "unix /run/etcd.sock false",
		"unixs://localhost:1234": "unix localhost:1234 true",
	} {
		e, err := parseEndpoint(in, true)
		if got := fmt.Sprint(e.network, " ", e.address, " ", e.secure); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	if _, err := parseEndpoint("dns:///etcd", false); err == nil {
		t.Error("a scheme that is not known")
	}
}

// replay is a connection that only reads.
type replay struct {
	net.Conn
	r *bytes.Reader
}

func (r *replay) Read(b []byte) (int, error)            { return r.r.Read(b) }
func (r *replay) Write(b []byte) (int, error)           { return len(b), nil }
func (r *replay) SetDeadline(time.Time) error           { return nil }
func (r *replay) SyscallConn() (syscall.RawConn, error) { return nil, nil }

// FuzzLine feeds a line what no etcd sends.
func FuzzLine(f *testing.F) {
	greeting := []byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0}
	f.Add(greeting)
	answer := append([]byte(nil), greeting...)
	answer = append(appendFrame(answer, http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 1), 0x88)
	answer = append(appendFrame(answer, http2.FrameData, 0, 1, 7), 0, 0, 0, 0, 2, 'o', 'k')
	answer = append(appendFrame(answer, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, 15), "\x00\x0bgrpc-status\x010"...)
	f.Add(answer)
	f.Add(binary.BigEndian.AppendUint32(appendFrame(append([]byte(nil), greeting...), http2.FrameRSTStream, 0, 1, 4), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &replay{r: bytes.NewReader(b)}
		l, err := newLine(c, c, "host")
		if err != nil {
			return
		}
		got, err := l.call("/x", make([]byte, 5, 100), time.Now().Add(time.Minute))
		if err == nil && !strings.Contains(string(b), string(got)) {
			t.Errorf("got %q of %q", got, b)
		}
	})
}

// counted counts a connection's writes.
type counted struct {
	net.Conn
	writes int
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

// A call is one write: the server's pings that measure are answered with the
// next.
func TestLineWritesOnce(t *testing.T) {
	address, _ := serve(t, &keys{})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Conn: conn}
	l, err := newLine(c, conn.(*net.TCPConn), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	request, err := proto.Marshal(&pb.RangeRequest{Key: []byte("a"), Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 200
	for range calls {
		if _, err := l.call("/etcdserverpb.KV/Range", append(make([]byte, 5), request...), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if c.writes > calls+10 {
		t.Errorf("%d writes for %d calls", c.writes, calls)
	}
}
