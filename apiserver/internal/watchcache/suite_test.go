package watchcache_test

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/watchcache"
)

// open runs a cache over a store and waits until it is ready.
func open(t testing.TB, backend kv.Store) *watchcache.Store {
	return openWith(t, backend, watchcache.Options{Wait: 2 * time.Second})
}

func openWith(t testing.TB, backend kv.Store, o watchcache.Options) *watchcache.Store {
	s := watchcache.New(backend, storagetest.Resources, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); s.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v", s.Ready(ctx))
		}
	}
	return s
}

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) *storagetest.Harness {
		m := memory.New()
		return &storagetest.Harness{
			Store: open(t, m), KV: m, Compact: m.Compact, Break: m.Break,
			Again: func() storage.Store { return open(t, m) },
		}
	})
}

// breakable ends watches on demand.
type breakable struct {
	pb.WatchClient
	cancels []context.CancelFunc
}

func TestEmbedded(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) *storagetest.Harness {
		server := startEtcd(t)
		return harness(t, server.Services())
	})
}

func TestEtcd(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) *storagetest.Harness {
		server := startEtcd(t)
		s, err := etcd.New(etcd.Config{Endpoints: []string{server.Endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return harness(t, s.Services())
	})
}

func startEtcd(t testing.TB) *embedded.Server {
	server, err := embedded.Start(t.TempDir(), embedded.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func harness(t *testing.T, services etcd.Services) *storagetest.Harness {
	b := &breakable{WatchClient: services.Watch}
	services.Watch = b
	s := etcd.Over(services, etcd.Config{})
	return &storagetest.Harness{
		Store: open(t, s), KV: s,
		Compact: func(revision int64) {
			_, err := services.KV.Compact(context.Background(), &pb.CompactionRequest{Revision: revision, Physical: true})
			if err != nil {
				t.Fatal(err)
			}
		},
		Break: b.breakAll,
		Again: func() storage.Store { return open(t, s) },
	}
}
