package watchcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/storage/value"
	"xebec.dev/apiserver/internal/watchcache"
)

// Under kill -9 of etcd, what was acknowledged stays, versions only rise, and
// the cache and its watchers go on by themselves.
func TestEtcdKilled(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	backend, err := etcd.New(etcd.Config{Endpoints: []string{p.endpoint}, RequestTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	s := open(t, backend)
	c := s.Collection(storagetest.ConfigMaps)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const writers = 8
	var acked [writers]atomic.Int64 // the revision of each writer's last acknowledged write
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			name := fmt.Sprintf("x%d", i)
			for n := 0; ctx.Err() == nil; n++ {
				raw := storagetest.ConfigMap("a", name, fmt.Sprint(n), nil)
				old, err := c.Get(ctx, "a", name, storage.Fresh, 0)
				var o *storage.Object
				switch {
				case errors.Is(err, storage.ErrNotFound):
					o, err = c.Create(ctx, "a", name, raw, 0)
				case err == nil:
					if old.Revision < acked[i].Load() {
						t.Errorf("read %d after an acknowledged write at %d", old.Revision, acked[i].Load())
					}
					o, err = c.Update(ctx, old, raw, 0)
				}
				if err != nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				acked[i].Store(o.Revision)
			}
		})
	}
	w, err := c.Watch(ctx, storage.WatchOptions{InitialEvents: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int64{}
	var last int64
	var mu sync.Mutex
	wg.Go(func() {
		for {
			events, err := w.Next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("the watch ended: %v", err)
				}
				return
			}
			mu.Lock()
			for _, e := range events {
				if e.Revision < last && e.Object != nil && e.Type != storage.Added {
					t.Errorf("revision %d after %d", e.Revision, last)
				}
				last = max(last, e.Revision)
				if e.Object != nil {
					seen[e.Object.Name] = e.Revision
				}
			}
			mu.Unlock()
		}
	})
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		p.kill()
		if err := s.Ready(ctx); err == nil {
			t.Error("ready without etcd")
		}
		began := time.Now()
		p = startProcess(t, dir)
		t.Logf("etcd takes requests after %v", time.Since(began).Round(time.Millisecond))
		for s.Ready(ctx) != nil {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("not ready %v after etcd came back: %v", time.Since(began), s.Ready(ctx))
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("ready %v after etcd came back", time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(150 * time.Millisecond)
	cancel()
	wg.Wait()
	l, err := c.List(context.Background(), storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range l.Objects {
		var i int
		fmt.Sscanf(o.Name, "x%d", &i)
		if o.Revision < acked[i].Load() {
			t.Errorf("%s is at %d, acknowledged at %d", o.Name, o.Revision, acked[i].Load())
		}
	}
	if len(l.Objects) != writers {
		t.Errorf("%d objects of %d writers", len(l.Objects), writers)
	}
}

// lossy loses the answers to some transactions that etcd has done.
type lossy struct {
	pb.KVClient
	lose atomic.Bool
}

func (l *lossy) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	response, err := l.KVClient.Txn(ctx, r, opts...)
	fence := bytes.HasSuffix(r.Success[0].GetRequestPut().GetKey(), []byte(kv.FenceKey))
	if !fence && l.lose.CompareAndSwap(true, false) {
		return nil, status.Error(codes.Unavailable, "transport is closing")
	}
	return response, err
}

// A write whose answer is lost is neither a success nor a failure.
func TestUnknownOutcome(t *testing.T) {
	services := startEtcd(t).Services()
	l := &lossy{KVClient: services.KV}
	services.KV = l
	c := open(t, etcd.Over(services, etcd.Config{})).Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	l.lose.Store(true)
	_, err := c.Create(ctx, "a", "x", storagetest.ConfigMap("a", "x", "", nil), 0)
	if !errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("create: %v", err)
	}
	var exists *storage.Exists
	if _, err = c.Create(ctx, "a", "x", storagetest.ConfigMap("a", "x", "", nil), 0); !errors.As(err, &exists) {
		t.Fatalf("create again: %v", err)
	}
	l.lose.Store(true)
	if _, err = c.Update(ctx, exists.Object, storagetest.ConfigMap("a", "x", "1", nil), 0); !errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("update: %v", err)
	}
	got, err := c.Get(ctx, "a", "x", storage.Fresh, 0)
	if err != nil || got.Revision <= exists.Object.Revision {
		t.Fatalf("get: %v, %v", got, err)
	}
}

// freezer holds back what watches receive.
type freezer struct {
	pb.WatchClient
	mu sync.Mutex
}

func (f *freezer) Watch(ctx context.Context, opts ...grpc.CallOption) (pb.Watch_WatchClient, error) {
	s, err := f.WatchClient.Watch(ctx, opts...)
	return &freezing{s, f, ctx}, err
}

type freezing struct {
	pb.Watch_WatchClient
	f   *freezer
	ctx context.Context
}

func (f *freezing) Recv() (*pb.WatchResponse, error) {
	r, err := f.Watch_WatchClient.Recv()
	for !f.f.mu.TryLock() {
		if f.ctx.Err() != nil {
			return nil, f.ctx.Err()
		}
		time.Sleep(time.Millisecond)
	}
	f.f.mu.Unlock()
	return r, err
}

// A server whose feed hangs answers from etcd, or not at all; and it gets
// itself another feed.
func TestFrozenFeed(t *testing.T) {
	services := startEtcd(t).Services()
	healthy := open(t, etcd.Over(services, etcd.Config{})).Collection(storagetest.ConfigMaps)
	f := &freezer{WatchClient: services.Watch}
	services.Watch = f
	s := openWith(t, etcd.Over(services, etcd.Config{}), watchcache.Options{Wait: 100 * time.Millisecond, Watchdog: 300 * time.Millisecond})
	c := s.Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	o, err := healthy.Create(ctx, "a", "x", storagetest.ConfigMap("a", "x", "", nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	for i := range 3 {
		if o, err = healthy.Update(ctx, o, storagetest.ConfigMap("a", "x", fmt.Sprint(i), nil), 0); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(ctx, "a", "x", storage.Fresh, 0)
		if err != nil || got.Revision != o.Revision {
			t.Fatalf("get: %v, %v, want %d", got, err, o.Revision)
		}
		l, err := c.List(ctx, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}})
		if err != nil || len(l.Objects) != 1 || l.Objects[0].Revision != o.Revision || l.Revision < o.Revision {
			t.Fatalf("list: %v, %v, want %d", l, err, o.Revision)
		}
	}
	var large *storage.TooLargeRevision
	if _, err := c.Get(ctx, "a", "x", storage.NotOlderThan, o.Revision); !errors.As(err, &large) {
		t.Fatalf("get not older than what the cache has: %v", err)
	}
	f.mu.Unlock()
	w, err := c.Watch(ctx, storage.WatchOptions{Revision: o.Revision - 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if events, err := w.Next(wait); err != nil || events[0].Revision != o.Revision {
		t.Fatalf("next: %v, %v", events, err)
	}
}

// A list that the cache cannot serve, right after a write of several objects:
// who watches on from it gets none of them again, and nothing is missing.
func TestFrozenFeedGroup(t *testing.T) {
	services := startEtcd(t).Services()
	direct := etcd.Over(services, etcd.Config{})
	f := &freezer{WatchClient: services.Watch}
	services.Watch = f
	s := openWith(t, etcd.Over(services, etcd.Config{}), watchcache.Options{Wait: 100 * time.Millisecond, Watchdog: time.Hour})
	c := s.Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	codec := value.NewCodec(storagetest.ConfigMaps, nil)
	put := func(names ...string) int64 {
		t.Helper()
		var writes []kv.Write
		for _, name := range names {
			key := "configmaps/a/" + name
			sealed, err := codec.Seal(storagetest.ConfigMap("a", name, "", nil), key)
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, kv.Write{Key: key, Value: sealed, Compare: kv.Anything})
		}
		revision, _, err := direct.Apply(ctx, writes)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	f.mu.Lock()
	group := put("x", "y", "z")
	l, err := c.List(ctx, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}})
	if err != nil || len(l.Objects) != 3 || l.Objects[0].Revision != group {
		t.Fatalf("list: %+v, %v, want three objects of %d", l, err, group)
	}
	after := put("x", "w")
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	expect := func(w storage.Watcher, want ...int64) {
		t.Helper()
		var got []int64
		for len(got) < len(want) {
			events, err := w.Next(wait)
			if err != nil {
				t.Fatalf("next: %v after %v, want %v", err, got, want)
			}
			for _, e := range events {
				got = append(got, e.Revision)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("changes of %v, want %v", got, want)
		}
	}
	watch := func(revision int64, name string) storage.Watcher {
		t.Helper()
		w, err := c.Watch(ctx, storage.WatchOptions{Revision: revision, Selection: storage.Selection{Namespace: "a", Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	// The cache is behind all of these.
	listed, whole, part := watch(l.Revision, ""), watch(group, "x"), watch(group, "")
	f.mu.Unlock()
	expect(listed, after, after)
	expect(whole, after) // it has seen all that it sees of the group
	expect(part, group, group, group, after, after)
	// And now it is not.
	expect(watch(l.Revision, ""), after, after)
}

// replaceable is a store that can be exchanged for another, as a restore from
// a backup does.
type replaceable struct {
	kv.Store
	mu sync.RWMutex
}

func (r *replaceable) now() kv.Store {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.Store
}

func (r *replaceable) Get(ctx context.Context, key string, revision int64) (*kv.Entry, int64, error) {
	return r.now().Get(ctx, key, revision)
}
func (r *replaceable) Range(ctx context.Context, q kv.Range) (*kv.Page, error) {
	return r.now().Range(ctx, q)
}
func (r *replaceable) Apply(ctx context.Context, w []kv.Write) (int64, []kv.Result, error) {
	return r.now().Apply(ctx, w)
}
func (r *replaceable) Watch(ctx context.Context, after int64) (kv.Feed, error) {
	return r.now().Watch(ctx, after)
}
func (r *replaceable) Revision(ctx context.Context) (int64, error) { return r.now().Revision(ctx) }

// After a restore from a backup the revision is lower. Everything known is
// void, and watchers are told.
func TestRestored(t *testing.T) {
	before, after := memory.New(), memory.New()
	ctx := context.Background()
	if _, err := after.Revision(ctx); err != nil {
		t.Fatal(err)
	}
	seed := open(t, after).Collection(storagetest.ConfigMaps)
	if _, err := seed.Create(ctx, "a", "old", storagetest.ConfigMap("a", "old", "", nil), 0); err != nil {
		t.Fatal(err)
	}
	r := &replaceable{Store: before}
	c := open(t, r).Collection(storagetest.ConfigMaps)
	for i := range 20 {
		name := fmt.Sprintf("x%d", i)
		if _, err := c.Create(ctx, "a", name, storagetest.ConfigMap("a", name, "", nil), 0); err != nil {
			t.Fatal(err)
		}
	}
	l, err := c.List(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(ctx, storage.WatchOptions{Revision: l.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.mu.Lock()
	r.Store = after
	r.mu.Unlock()
	// Nothing breaks the old feed: a read notices.
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := c.Get(ctx, "a", "old", storage.Fresh, 0)
		if err == nil && got.Revision < l.Revision {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("get: %v, %v", got, err)
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := w.Next(ctx); !errors.Is(err, storage.ErrExpired) {
		t.Fatalf("next: %v", err)
	}
	if l, err := c.List(ctx, storage.ListOptions{}); err != nil || len(l.Objects) != 1 {
		t.Fatalf("list: %v, %v", l, err)
	}
}

// Batches larger than gRPC's usual limit arrive whole.
func TestLargeBatches(t *testing.T) {
	server := startEtcd(t)
	backend := connect(t, server.Endpoint)
	services := backend.Services()
	b := &breakable{WatchClient: services.Watch}
	services.Watch = b
	c := open(t, etcd.Over(services, etcd.Config{})).Collection(storagetest.ConfigMaps)
	writer := open(t, backend).Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	l, err := c.List(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(ctx, storage.WatchOptions{Revision: l.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b.breakAll()
	data := string(make([]byte, 900<<10))
	const n = 12
	for i := range n {
		name := fmt.Sprintf("x%02d", i)
		if _, err := writer.Create(ctx, "a", name, storagetest.ConfigMap("a", name, data, nil), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < n; {
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		events, err := w.Next(wait)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if want := fmt.Sprintf("x%02d", i); e.Object.Name != want || len(e.Object.Raw) < 900<<10 {
				t.Fatalf("got %s, want %s", e.Object.Name, want)
			}
			i++
		}
	}
	tooLarge := string(make([]byte, 2<<20))
	if _, err := writer.Create(ctx, "a", "big", storagetest.ConfigMap("a", "big", tooLarge, nil), 0); !errors.Is(err, kv.ErrTooLarge) {
		t.Fatalf("an object of 2 MB: %v", err)
	}
}
