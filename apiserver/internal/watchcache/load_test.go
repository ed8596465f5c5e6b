package watchcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/storage/value"
)

// scanned counts what a store tells unasked, and breaks off when it is told to.
type scanned struct {
	*etcd.Store
	breaks  bool
	entries int
}

func (s *scanned) Scan(ctx context.Context, q kv.Range, each func(*kv.Page)) error {
	broken := false
	err := s.Store.Scan(ctx, q, func(p *kv.Page) {
		if broken = broken || s.breaks && s.entries > 0; !broken {
			s.entries += len(p.Entries)
			each(p)
		}
	})
	if broken {
		return errors.New("broken off")
	}
	return err
}

// A collection of more than a page is loaded whole: told by etcd as it reads,
// told in part, and asked for in pages.
func TestLoad(t *testing.T) {
	const count = 1700
	server := startEtcd(t)
	s, err := etcd.New(etcd.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ctx := t.Context()
	codec := value.NewCodec(storagetest.Pods, nil)
	var group []kv.Write
	for i := range count {
		ns, name := fmt.Sprint("ns-", i/1000), fmt.Sprintf("pod-%04d", i)
		k := "pods/" + ns + "/" + name
		stored, err := codec.Seal(storagetest.Pod(ns, name, fmt.Sprint("node-", i*7%20), "Running"), k)
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, kv.Write{Key: k, Value: stored})
		if len(group) == 50 || i == count-1 {
			if _, _, err := s.Apply(ctx, group); err != nil {
				t.Fatal(err)
			}
			group = group[:0]
		}
	}
	whole, part := &scanned{Store: s}, &scanned{Store: s, breaks: true}
	for name, store := range map[string]kv.Store{"told": whole, "told in part": part, "pages": struct{ kv.Store }{s}} {
		t.Run(name, func(t *testing.T) {
			pods := open(t, store).Collection(storagetest.Pods)
			l, err := pods.List(ctx, storage.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Objects) != count {
				t.Fatalf("%d objects of %d", len(l.Objects), count)
			}
			for i, o := range l.Objects {
				if want := fmt.Sprintf("pod-%04d", i); o.Name != want {
					t.Fatalf("object %d is %s, want %s", i, o.Name, want)
				}
			}
			onNode := storage.Selection{Fields: []storage.FieldRequirement{{Index: storagetest.FieldNode, Value: "node-13"}}}
			if l, err = pods.List(ctx, storage.ListOptions{Selection: onNode}); err != nil || len(l.Objects) != count/20 {
				t.Fatalf("%d objects of node-13, want %d: %v", len(l.Objects), count/20, err)
			}
			for i := 1; i < len(l.Objects); i++ {
				if l.Objects[i-1].Name >= l.Objects[i].Name {
					t.Fatalf("%s comes before %s", l.Objects[i-1].Name, l.Objects[i].Name)
				}
			}
		})
	}
	if whole.entries != count-500 || part.entries == 0 || part.entries >= count-500 {
		t.Errorf("told %d and %d entries of %d after the first page", whole.entries, part.entries, count-500)
	}
}
