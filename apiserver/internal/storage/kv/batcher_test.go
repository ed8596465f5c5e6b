package kv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/memory"
)

// gate is a store that holds transactions back and keeps what they were.
type gate struct {
	kv.Store
	open   chan struct{}
	mu     sync.Mutex
	groups [][]string
	fail   func([]kv.Write) error
}

func (g *gate) Apply(ctx context.Context, writes []kv.Write) (int64, []kv.Result, error) {
	select {
	case <-g.open:
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("%w: %w", storage.ErrUnknown, ctx.Err())
	}
	var keys []string
	for _, w := range writes {
		keys = append(keys, w.Key)
	}
	g.mu.Lock()
	g.groups = append(g.groups, keys)
	g.mu.Unlock()
	if g.fail != nil {
		if err := g.fail(writes); err != nil {
			return 0, nil, err
		}
	}
	return g.Store.Apply(ctx, writes)
}

func newGate() *gate { return &gate{Store: memory.New(), open: make(chan struct{})} }

// submit starts writes one after the other and returns what waits for them.
func submit(b *kv.Batcher, writes ...kv.Write) func() []error {
	errs := make([]error, len(writes))
	var wg sync.WaitGroup
	for i, w := range writes {
		wg.Go(func() { _, _, errs[i] = b.Do(context.Background(), w) })
		time.Sleep(2 * time.Millisecond) // in order
	}
	return func() []error { wg.Wait(); return errs }
}

func put(key string) kv.Write { return kv.Write{Key: key, Value: []byte("v"), Compare: kv.Anything} }

func TestGroups(t *testing.T) {
	g := newGate()
	b := kv.NewBatcher(g, kv.BatcherOptions{Slots: 1, Ops: 3, Bytes: 100})
	large := put("large")
	large.Value = []byte(strings.Repeat("x", 90))
	wait := submit(b, put("a"), put("b"), put("c"), put("b"), put("d"), put("e"), large, put("f"))
	close(g.open)
	for i, err := range wait() {
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	// The first goes alone. No key twice, three writes at most, and writes of
	// one key keep their order.
	if got, want := fmt.Sprint(g.groups), "[[a] [b c d] [b e large] [f]]"; got != want {
		t.Errorf("groups %s, want %s", got, want)
	}
}

// A group that is refused goes in single writes; only the culprit fails.
func TestRefusedGroup(t *testing.T) {
	g := newGate()
	g.fail = func(w []kv.Write) error {
		for _, w := range w {
			if w.Key == "bad" {
				return kv.ErrTooLarge
			}
		}
		return nil
	}
	b := kv.NewBatcher(g, kv.BatcherOptions{Slots: 1})
	wait := submit(b, put("a"), put("b"), put("bad"), put("c"))
	close(g.open)
	for i, err := range wait() {
		if errors.Is(err, kv.ErrTooLarge) != (i == 2) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if e, _, err := g.Get(context.Background(), "c", 0); err != nil || e == nil {
		t.Errorf("c: %v, %v", e, err)
	}
}

// What the store took shows that it is well, until it fails.
func TestWell(t *testing.T) {
	g := newGate()
	close(g.open)
	b := kv.NewBatcher(g, kv.BatcherOptions{})
	for _, fails := range []bool{true, false, true, false} {
		g.fail = func([]kv.Write) error {
			if fails {
				return kv.ErrUnavailable
			}
			return nil
		}
		before := time.Now()
		_, _, err := b.Do(context.Background(), put("a"))
		if well := b.Well(); fails != (err != nil) || fails != well.IsZero() || !fails && well.Before(before) {
			t.Errorf("a write failed: %v (%v), and the store was well %v", fails, err, well)
		}
	}
}

// Of an unknown outcome nothing is tried again.
func TestUnknownGroup(t *testing.T) {
	g := newGate()
	g.fail = func(w []kv.Write) error { return storage.ErrUnknown }
	b := kv.NewBatcher(g, kv.BatcherOptions{Slots: 1})
	wait := submit(b, put("a"), put("b"), put("c"))
	close(g.open)
	for i, err := range wait() {
		if !errors.Is(err, storage.ErrUnknown) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if len(g.groups) != 2 {
		t.Errorf("groups %v", g.groups)
	}
}

// A write that is given up while it waits does not happen; one that is under
// way may.
func TestGivenUp(t *testing.T) {
	g := newGate()
	b := kv.NewBatcher(g, kv.BatcherOptions{Slots: 1})
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 2)
	go func() { _, _, err := b.Do(ctx, put("first")); errs <- err }()
	time.Sleep(5 * time.Millisecond)
	go func() { _, _, err := b.Do(ctx, put("second")); errs <- err }()
	time.Sleep(5 * time.Millisecond)
	cancel()
	unknown := 0
	for range 2 {
		err := <-errs
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if errors.Is(err, storage.ErrUnknown) {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("%d unknown outcomes, want 1", unknown)
	}
	close(g.open)
	if _, _, err := b.Do(context.Background(), put("third")); err != nil {
		t.Fatal(err)
	}
	// This store lets go of a write whose caller has.
	if got, want := fmt.Sprint(g.groups), "[[third]]"; got != want {
		t.Errorf("groups %s, want %s", got, want)
	}
}

func TestResultsOfGroup(t *testing.T) {
	g := newGate()
	b := kv.NewBatcher(g, kv.BatcherOptions{Slots: 1})
	ctx := context.Background()
	g.Store.Apply(ctx, []kv.Write{put("there")})
	type answer struct {
		revision int64
		result   kv.Result
	}
	answers := make([]answer, 4)
	var wg sync.WaitGroup
	for i, w := range []kv.Write{put("a"), {Key: "new", Value: []byte("1")}, {Key: "there", Value: []byte("2")}, {Key: "gone", Delete: true, Compare: 7}} {
		wg.Go(func() {
			var err error
			if answers[i].revision, answers[i].result, err = b.Do(ctx, w); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(2 * time.Millisecond)
	}
	close(g.open)
	wg.Wait()
	if !answers[1].result.Done || answers[1].revision != 4 {
		t.Errorf("create: %+v", answers[1])
	}
	if r := answers[2].result; r.Done || r.Current == nil || r.Current.Revision != 2 {
		t.Errorf("create of what is there: %+v", r)
	}
	if r := answers[3].result; r.Done || r.Current != nil {
		t.Errorf("delete of nothing: %+v", r)
	}
}
