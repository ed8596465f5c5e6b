package watchcache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
)

// The definition of a custom resource changes, and goes.
func TestRedefineAndForget(t *testing.T) {
	s := open(t, memory.New())
	ctx := context.Background()
	raw := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"a"},"spec":{"color":"red","size":"big"}}`)
	c := s.Collection(storagetest.Widgets)
	o, err := c.Create(ctx, "a", "w", raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(ctx, storage.WatchOptions{Revision: o.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	other := *storagetest.Widgets
	other.Fields = []scheme.SelectableField{{Label: "spec.size"}}
	s.Redefine(&other)
	if _, err := w.Next(ctx); !errors.Is(err, storage.ErrExpired) {
		t.Errorf("next after the change: %v", err)
	}
	c = s.Collection(&other)
	l, err := c.List(ctx, storage.ListOptions{Selection: storage.Selection{Fields: []storage.FieldRequirement{{Value: "big"}}}})
	if err != nil || len(l.Objects) != 1 {
		t.Fatalf("list: %v, %v", l, err)
	}
	for _, st := range s.Stats() {
		if st.Resource == &other && (st.Objects != 1 || st.Bytes != int64(len(raw))) {
			t.Errorf("stats %+v", st)
		}
	}
	w, err = c.Watch(ctx, storage.WatchOptions{Revision: l.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.Forget(&other)
	if _, err := w.Next(ctx); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("next after the end: %v", err)
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if l, err := s.Collection(storagetest.Widgets).List(wait, storage.ListOptions{}); err != nil || len(l.Objects) != 1 {
		t.Errorf("list when it is back: %v, %v", l, err)
	}
}
