package embedded

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Data survives a restart; the endpoint serves etcd's own client.
func TestRestart(t *testing.T) {
	for _, dir := range []string{t.TempDir(), t.TempDir() + "/" + strings.Repeat("long", 25)} {
		for i := range 3 {
			s, err := Start(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			store := etcd.Over(s.Services(), etcd.Config{})
			ctx := context.Background()
			for j := range i {
				e, _, err := store.Get(ctx, fmt.Sprint(j), 0)
				if err != nil || e == nil {
					t.Fatalf("key %d is gone: %v", j, err)
				}
			}
			if _, _, err := store.Apply(ctx, []kv.Write{{Key: fmt.Sprint(i), Value: []byte("v")}}); err != nil {
				t.Fatal(err)
			}
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Get(ctx, "/registry/0")
			if err != nil || len(r.Kvs) != 1 {
				t.Fatalf("read through %s: %v, %v", s.Endpoint, r, err)
			}
			client.Close()
			s.Close()
		}
	}
}

// The database reads the same after its pages were given back.
func TestTrim(t *testing.T) {
	s, err := Start(t.TempDir(), Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	store := etcd.Over(s.Services(), etcd.Config{})
	ctx := context.Background()
	value := make([]byte, 10<<10)
	const n = 5000
	for i := range n / 50 {
		var writes []kv.Write
		for j := range 50 {
			writes = append(writes, kv.Write{Key: fmt.Sprintf("k/%05d", 50*i+j), Value: value})
		}
		if _, _, err := store.Apply(ctx, writes); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if err := s.trim(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := store.Range(ctx, kv.Range{Prefix: "k/"}); err != nil {
		t.Fatal(err)
	}
	before := residentFiles()
	if err := s.trim(); err != nil {
		t.Fatal(err)
	}
	if after := residentFiles(); before-after < n*int64(len(value))/2 {
		t.Errorf("%d MB of files resident, %d MB before", after>>20, before>>20)
	}
	page, err := store.Range(ctx, kv.Range{Prefix: "k/"})
	if err != nil || len(page.Entries) != n {
		t.Fatalf("%d entries, %v", len(page.Entries), err)
	}
}

func TestStopsQuickly(t *testing.T) {
	s, err := Start(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
}
