package watchcache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/storage/value"
	"xebec.dev/apiserver/internal/watchcache"
)

// away is a transformer whose plugin may be away.
type away struct{ gone *atomic.Bool }

func (away) ToStorage(data []byte, _ string) ([]byte, error) {
	return append([]byte("k8s:enc:"), data...), nil
}

func (a away) FromStorage(data []byte, _ string) ([]byte, bool, error) {
	if a.gone.Load() {
		return nil, false, errors.New("the plugin is away")
	}
	return data[len("k8s:enc:"):], false, nil
}

// An object that becomes unreadable is not told to be deleted: its watches end,
// lists fail, and when it can be read again all is as it was.
func TestUnreadable(t *testing.T) {
	m := memory.New()
	ctx := t.Context()
	var gone atomic.Bool
	with := func(g *atomic.Bool) storage.Collection {
		return openWith(t, m, watchcache.Options{
			Transformer: func(*scheme.Resource) value.Transformer { return away{g} },
			Watchdog:    10 * time.Millisecond,
		}).Collection(storagetest.ConfigMaps)
	}
	writer, reader := with(new(atomic.Bool)), with(&gone)
	object := func(v string) []byte { return storagetest.ConfigMap("a", "x", v, nil) }
	o, err := writer.Create(ctx, "a", "x", object("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := reader.Watch(ctx, storage.WatchOptions{InitialEvents: true, Match: storage.Fresh})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 2 { // the object, and the end of the initial ones
		if _, err := w.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	gone.Store(true)
	if o, err = writer.Update(ctx, o, object("2"), 0); err != nil {
		t.Fatal(err)
	}
	if events, err := w.Next(ctx); !errors.Is(err, storage.ErrExpired) {
		t.Fatalf("%v, %v: the watch should have expired", events, err)
	}
	var corrupt *storage.Corrupt
	if _, err := reader.Get(ctx, "a", "x", storage.Fresh, 0); !errors.As(err, &corrupt) || corrupt.Revision != o.Revision {
		t.Errorf("get: %v", err)
	}
	if _, err := reader.List(ctx, storage.ListOptions{}); !errors.As(err, &corrupt) {
		t.Errorf("list: %v", err)
	}
	if _, err := reader.Watch(ctx, storage.WatchOptions{InitialEvents: true}); !errors.As(err, &corrupt) {
		t.Errorf("watch: %v", err)
	}
	gone.Store(false)
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		got, err := reader.Get(wait, "a", "x", storage.Fresh, 0)
		if err == nil {
			if string(got.Raw) != string(object("2")) || got.Revision != o.Revision {
				t.Errorf("read again: %d bytes at %d, want those of %d", len(got.Raw), got.Revision, o.Revision)
			}
			break
		}
		if wait.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	l, err := reader.List(ctx, storage.ListOptions{})
	if err != nil || len(l.Objects) != 1 {
		t.Fatalf("list: %v, %v", l, err)
	}
	if w, err = reader.Watch(ctx, storage.WatchOptions{Revision: l.Revision, Match: storage.Any}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := writer.Delete(ctx, o); err != nil {
		t.Fatal(err)
	}
	events, err := w.Next(ctx)
	if err != nil || len(events) != 1 || events[0].Type != storage.Deleted || string(events[0].Object.Raw) != string(object("2")) {
		t.Errorf("deleted: %v, %v", events, err)
	}
}
