package etcd

import (
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"xebec.dev/apiserver/internal/storage/kv"
)

// ranges streams pieces of keys and then ends as it is told.
type ranges struct {
	keys
	pieces []int // lengths of values, each a piece
	end    error
	asked  *pb.RangeRequest
}

func (r *ranges) RangeStream(q *pb.RangeRequest, out pb.KV_RangeStreamServer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = q
	r.calls++
	for i, n := range r.pieces {
		piece := &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: fmt.Appendf(nil, "/registry/pods/%d", i), Value: make([]byte, n), ModRevision: int64(i + 1)}}}
		if err := out.Send(&pb.RangeStreamResponse{RangeResponse: piece}); err != nil {
			return err
		}
	}
	return r.end
}

func scanning(t *testing.T, r *ranges) *Store {
	address, _ := serve(t, r)
	s, err := New(Config{Endpoints: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Pieces of every size come in order, and an end that is none is told as such.
func TestScan(t *testing.T) {
	sizes := []int{0, 10, 16 << 10, 64 << 10, 3 << 20, 12 << 20, 1}
	for _, end := range []error{nil, rpctypes.ErrGRPCCompacted, status.Error(codes.Unavailable, "stopping")} {
		r := &ranges{pieces: sizes, end: end}
		s := scanning(t, r)
		var got []kv.Entry
		err := s.Scan(t.Context(), kv.Range{Prefix: "pods/", From: "pods/0", Limit: 3, Revision: 17}, func(p *kv.Page) { got = append(got, p.Entries...) })
		if (err == nil) != (end == nil) || errors.As(err, new(*kv.Compacted)) != (end == rpctypes.ErrGRPCCompacted) {
			t.Errorf("etcd ended with %v, the scan with %v", end, err)
		}
		if len(got) != len(sizes) {
			t.Fatalf("%d entries of %d", len(got), len(sizes))
		}
		for i, e := range got {
			if len(e.Value) != sizes[i] || e.Key != fmt.Sprint("pods/", i) || e.Revision != int64(i+1) {
				t.Errorf("entry %d: %s with %d bytes at %d", i, e.Key, len(e.Value), e.Revision)
			}
		}
		r.mu.Lock()
		if q := r.asked; string(q.Key) != "/registry/pods/0" || string(q.RangeEnd) != "/registry/pods0" || q.Limit != 0 || q.Revision != 17 {
			t.Errorf("asked for %v", q)
		}
		r.mu.Unlock()
	}
}

// An etcd that cannot is asked once.
func TestScanIsUnknown(t *testing.T) {
	r := &ranges{end: status.Error(codes.Unimplemented, "unknown method RangeStream")}
	s := scanning(t, r)
	for range 3 {
		if err := s.Scan(t.Context(), kv.Range{Prefix: "pods/"}, func(*kv.Page) { t.Error("an entry") }); err != errNoScan {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls != 1 {
		t.Errorf("asked %d times", r.calls)
	}
}
