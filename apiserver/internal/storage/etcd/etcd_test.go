package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
)

func services(t *testing.T) etcd.Services {
	s, err := embedded.Start(t.TempDir(), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Services()
}

// counting counts leases that are granted.
type counting struct {
	pb.LeaseClient
	granted []int64
}

func (c *counting) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest, opts ...grpc.CallOption) (*pb.LeaseGrantResponse, error) {
	c.granted = append(c.granted, r.TTL)
	return c.LeaseClient.LeaseGrant(ctx, r, opts...)
}

// full has no space: it refuses, but the first write it does all the same.
type full struct {
	pb.KVClient
	did bool
}

func (f *full) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	if !f.did {
		f.did = true
		if _, err := f.KVClient.Txn(ctx, r, opts...); err != nil {
			return nil, err
		}
	}
	return nil, rpctypes.ErrGRPCNoSpace
}

func TestNoSpace(t *testing.T) {
	s := services(t)
	s.KV = &full{KVClient: s.KV}
	store := etcd.Over(s, etcd.Config{})
	ctx := t.Context()
	pair := func(of string) []kv.Write {
		return []kv.Write{{Key: "a/" + of + "1", Value: []byte("v")}, {Key: "a/" + of + "2", Value: []byte("v")}}
	}
	_, _, err := store.Apply(ctx, pair("done"))
	if !errors.Is(err, storage.ErrUnknown) || !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("a write that etcd refuses and does: %v", err)
	}
	_, _, err = store.Apply(ctx, pair("refused"))
	if errors.Is(err, storage.ErrUnknown) || !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("a write that etcd refuses: %v", err)
	}
}

func TestLeasesAreShared(t *testing.T) {
	s := services(t)
	c := &counting{LeaseClient: s.Lease}
	s.Lease = c
	store := etcd.Over(s, etcd.Config{})
	ctx := context.Background()
	for i := range 2500 {
		if _, _, err := store.Apply(ctx, []kv.Write{{Key: fmt.Sprintf("events/a/%d", i), Value: []byte("v"), TTL: time.Hour}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.granted) != 3 || c.granted[0] != 3660 {
		t.Errorf("granted %v for 2500 keys", c.granted)
	}
	if _, _, err := store.Apply(ctx, []kv.Write{{Key: "events/a/x", Value: []byte("v"), TTL: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	if len(c.granted) != 4 {
		t.Errorf("a shorter life shares a lease")
	}
	// A lease that has gone is replaced.
	r, err := s.Lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Leases {
		if _, err := s.Lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: l.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := store.Apply(ctx, []kv.Write{{Key: "events/a/y", Value: []byte("v"), TTL: time.Minute}}); err != nil {
		t.Errorf("write after the lease is gone: %v", err)
	}
}

// ledger is the part of etcd that compaction needs, to run on virtual time.
type ledger struct {
	pb.KVClient
	mu                sync.Mutex
	revision, version int64
	value             string
	compacted         []int64
}

func (l *ledger) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version != r.Compare[0].GetVersion() {
		return &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: l.revision}, Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponseRange{
			ResponseRange: &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Version: l.version, Value: []byte(l.value)}}},
		}}}}, nil
	}
	l.version++
	l.revision++
	l.value = string(r.Success[0].GetRequestPut().Value)
	return &pb.TxnResponse{Succeeded: true, Header: &pb.ResponseHeader{Revision: l.revision}}, nil
}

func (l *ledger) Compact(ctx context.Context, r *pb.CompactionRequest, opts ...grpc.CallOption) (*pb.CompactionResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compacted = append(l.compacted, r.Revision)
	return &pb.CompactionResponse{}, nil
}

// Two servers compact as one: in each interval to where the last one ended.
func TestCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{revision: 100}
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			s := etcd.Over(etcd.Services{KV: l}, etcd.Config{})
			go s.Compact(ctx, 5*time.Minute)
			time.Sleep(time.Second)
		}
		for range 4 {
			time.Sleep(5 * time.Minute)
			l.mu.Lock()
			l.revision += 1000
			l.mu.Unlock()
		}
		cancel()
		synctest.Wait()
		// After 5, 10, 15 and 20 minutes; the first only notes the revision.
		if got, want := fmt.Sprint(l.compacted), "[101 1102 2103]"; got != want {
			t.Errorf("compacted to %s, want %s", got, want)
		}
		if l.version != 4 || l.value != "2103" {
			t.Errorf("clock %d, value %s", l.version, l.value)
		}
	})
}

// The history tells what was before, and ends where it is asked to.
func TestHistory(t *testing.T) {
	store := etcd.Over(services(t), etcd.Config{})
	ctx := context.Background()
	var revisions []int64
	for i := range 5 {
		revision, _, err := store.Apply(ctx, []kv.Write{
			{Key: "pods/a/x", Value: fmt.Appendf(nil, "%d", i), Compare: kv.Anything},
			{Key: fmt.Sprintf("nodes/%d", i), Value: []byte("v"), Compare: kv.Anything},
		})
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, revision)
	}
	past, err := store.History(ctx, "pods/", revisions[0], revisions[3], 1000)
	if err != nil || len(past) != 3 {
		t.Fatalf("%d events, %v", len(past), err)
	}
	for i, p := range past {
		if p.Revision != revisions[i+1] || string(p.Value) != fmt.Sprint(i+1) || p.Before == nil || string(p.Before.Value) != fmt.Sprint(i) {
			t.Errorf("event %d: %+v", i, p)
		}
	}
	if _, err := store.History(ctx, "pods/", revisions[0], revisions[3], 3); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
	if past, err := store.History(ctx, "secrets/", revisions[0], revisions[4], 1000); err != nil || len(past) != 0 {
		t.Errorf("history of nothing: %v, %v", past, err)
	}
}

// Of a group that creates, those are refused whose key is there, and told what
// is; the others are done, at one revision.
func TestGroupedCreates(t *testing.T) {
	store := etcd.Over(services(t), etcd.Config{})
	ctx := t.Context()
	create := func(names ...string) (int64, []kv.Result) {
		t.Helper()
		var group []kv.Write
		for _, name := range names {
			group = append(group, kv.Write{Key: "pods/a/" + name, Value: []byte(name)})
		}
		revision, results, err := store.Apply(ctx, group)
		if err != nil {
			t.Fatal(err)
		}
		return revision, results
	}
	first, results := create("x", "y")
	if !results[0].Done || !results[1].Done {
		t.Fatalf("new keys: %+v", results)
	}
	second, results := create("w", "y", "z")
	if !results[0].Done || results[1].Done || !results[2].Done {
		t.Fatalf("one of them is there: %+v", results)
	}
	if c := results[1].Current; c == nil || string(c.Value) != "y" || c.Revision != first || second != first+1 {
		t.Errorf("what is there: %+v of revision %d, written at %d and %d", c, c.Revision, first, second)
	}
	page, err := store.Range(ctx, kv.Range{Prefix: "pods/"})
	if err != nil || len(page.Entries) != 4 {
		t.Fatalf("%d keys, %v", len(page.Entries), err)
	}
	for i, want := range []struct {
		name     string
		revision int64
	}{{"w", second}, {"x", first}, {"y", first}, {"z", second}} {
		if e := page.Entries[i]; string(e.Value) != want.name || e.Revision != want.revision {
			t.Errorf("key %d: %s at %d, want %s at %d", i, e.Value, e.Revision, want.name, want.revision)
		}
	}
}

func TestProlong(t *testing.T) {
	s := services(t)
	store := etcd.Over(s, etcd.Config{Prefix: "/registry/"})
	ctx := context.Background()
	revisions := map[string]int64{"pods/a/absent": 1}
	for key, ttl := range map[string]time.Duration{"masterleases/a": time.Hour, "pods/a/b": 0} {
		revision, _, err := store.Apply(ctx, []kv.Write{{Key: key, Value: []byte("v"), TTL: ttl}})
		if err != nil {
			t.Fatal(err)
		}
		revisions[key] = revision
	}
	lease := revisions["masterleases/a"]
	for _, key := range []string{"pods/a/b", "pods/a/absent"} {
		if there, err := store.Prolong(ctx, key, revisions[key]); there || err != nil {
			t.Errorf("%s was prolonged: %v, %v", key, there, err)
		}
	}
	if there, err := store.Prolong(ctx, "masterleases/a", lease-1); there || err != nil {
		t.Errorf("another revision was prolonged: %v, %v", there, err)
	}
	leases, err := s.Lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil || len(leases.Leases) != 1 {
		t.Fatal(leases, err)
	}
	id := leases.Leases[0].ID
	left := func() int64 {
		r, err := s.Lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return r.TTL
	}
	revision, err := store.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := left()
	for begun := before; before > begun-2; before = left() {
		time.Sleep(100 * time.Millisecond)
	}
	for after := int64(0); after <= before; after = left() {
		if there, err := store.Prolong(ctx, "masterleases/a", lease); !there || err != nil {
			t.Fatal(there, err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, _ = store.Prolong(gone, "masterleases/a", lease) // whatever it says, the next one works
	}
	if now, err := store.Revision(ctx); now != revision || err != nil {
		t.Errorf("something was written: revision %d, then %d, %v", revision, now, err)
	}
	if _, err := s.Lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	if there, err := store.Prolong(ctx, "masterleases/a", lease); there || err != nil {
		t.Errorf("what ran out was prolonged: %v, %v", there, err)
	}
}
