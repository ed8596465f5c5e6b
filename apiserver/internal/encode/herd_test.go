package encode

import (
	"bytes"
	"io"
	"strconv"
	"sync"
	"testing"

	"xebec.dev/apiserver/internal/storage"
)

// pods are different objects of one kind.
func pods(t testing.TB, n int) (*Encoder, []*storage.Object) {
	e, o := podEncoder(t)
	all := make([]*storage.Object, n)
	for i := range all {
		p := *o
		p.Name, p.Revision = strconv.Itoa(i), int64(i+1)
		all[i] = &p
	}
	return e, all
}

// Lists that are under way together are what each is by itself: whole ones, ones
// of a part, ones of another state, at different paces.
func TestHerd(t *testing.T) {
	e, all := pods(t, 200)
	changed := append([]*storage.Object(nil), all...)
	for _, i := range []int{0, 17, 100, 199} {
		o := *all[i]
		o.Revision += 1000
		changed[i] = &o
	}
	lists := []*storage.List{
		{Revision: 1, Objects: all}, {Revision: 2, Objects: changed}, {Revision: 3, Objects: all[:150]}, {Revision: 4, Objects: all[1:]},
		{Revision: 5, Objects: all[16:]}, {Revision: 6}, {Revision: 7, Objects: all[:1]}, {Revision: 8, Objects: all},
	}
	var want [][]byte
	for _, l := range lists {
		var b bytes.Buffer
		if err := e.WriteList(&b, Format{}, l); err != nil {
			t.Fatal(err)
		}
		want = append(want, b.Bytes())
	}
	got := make([]bytes.Buffer, len(lists))
	var wg sync.WaitGroup
	for i, l := range lists {
		wg.Go(func() {
			if err := e.WriteList(&got[i], Format{}, l); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range lists {
		if !bytes.Equal(got[i].Bytes(), want[i]) {
			t.Errorf("list %d is another among others: %d bytes, want %d", i, got[i].Len(), len(want[i]))
		}
	}
	if e.herd.blocks != nil || e.herd.lists.Load() != 0 {
		t.Error("something is kept after the last list")
	}
}

// Two lists in step make each block once; what one that is far behind would
// need is not kept without bound.
func TestHerdShares(t *testing.T) {
	e, all := pods(t, 64)
	h := &e.herd
	h.enter()
	h.share(all[:16], []byte("alone"))
	if h.find(all[:16]) != nil {
		t.Error("a list by itself shares")
	}
	h.enter()
	made := make([]byte, herdBytes/2-1) // and a comma
	for i := 0; i < 64; i += 16 {
		h.share(all[i:i+16], made)
	}
	for i, want := range []bool{false, false, true, true} {
		if got := h.find(all[16*i:16*i+16]) != nil; got != want {
			t.Errorf("block %d is there: %v, want %v", i, got, want)
		}
	}
	for _, other := range [][]*storage.Object{all[32:47], all[33:49]} {
		if h.find(other) != nil {
			t.Error("another block is taken for it")
		}
	}
	if h.leave(); h.find(all[48:64]) != nil || h.bytes != 0 {
		t.Error("something is kept for a list by itself")
	}
	h.leave()
}

func BenchmarkListPodsJSONTen(b *testing.B) {
	e, all := pods(b, 5000)
	l := &storage.List{Revision: 1 << 30, Objects: all}
	var wg sync.WaitGroup
	for b.Loop() {
		for range 10 {
			wg.Go(func() {
				if err := e.WriteList(io.Discard, Format{}, l); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(10*len(all)), "µs/pod")
}
