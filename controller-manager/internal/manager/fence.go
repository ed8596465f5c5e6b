package manager

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// fence keeps what a leader writes within its lease: a process that was
// stopped, or starved, for longer than its lease knows nothing of its successor
// when it goes on, and must not carry out what it had decided.
type fence struct {
	on    bool
	until atomic.Pointer[time.Time]
}

// renewed opens the fence for the time that the lease is held for sure.
func (f *fence) renewed(at time.Time, held time.Duration) {
	end := at.Add(held)
	f.until.Store(&end)
}

var errFenced = grpcstatus.Error(codes.Aborted, "the lease may be another's by now: nothing is written")

func (f *fence) check() error {
	if !f.on {
		return nil
	}
	if end := f.until.Load(); end == nil || time.Now().After(*end) {
		return errFenced
	}
	return nil
}

// writes are the calls that change something; reads pass.
func writes(method string) bool {
	i := strings.LastIndexByte(method, '/')
	switch method[i+1:] {
	case "Get", "List", "Watch":
		return false
	}
	return true
}

// options put the fence into a connection.
func (f *fence) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if writes(method) {
				if err := f.check(); err != nil {
					return err
				}
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, d, cc, method, opts...)
			if err != nil || !writes(method) {
				return s, err
			}
			return &fenced{ClientStream: s, f: f}, nil
		}),
	}
}

// fenced is a stream of writes.
type fenced struct {
	grpc.ClientStream
	f *fence
}

// SendMsg implements grpc.ClientStream. The caller gives the stream up when
// it fails, and with it what was not sent.
func (s *fenced) SendMsg(m any) error {
	if err := s.f.check(); err != nil {
		return err
	}
	return s.ClientStream.SendMsg(m)
}
