package watchcache

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCRoom(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		before, live uint64
		share        float64
		want         uint64
	}{
		{8 * mb, 2 * mb, 0.001, 7 * mb},       // at rest
		{4 * mb, 2 * mb, 0.001, 4 * mb},       // never less
		{9 * mb, 10 * mb, 0.01, 9 * mb},       // as it was
		{32 * mb, 192 * mb, 0.001, 28 * mb},   // at rest
		{12 * mb, 192 * mb, 0.001, 11 * mb},   // the least
		{12 * mb, 192 * mb, 0.05, 18 * mb},    // busy
		{12 * mb, 192 * mb, 0.07, 24 * mb},    // very busy
		{160 * mb, 192 * mb, 0.5, 192 * mb},   // the most
		{900 * mb, 4096 * mb, 0.5, 1024 * mb}, // the most of a huge heap
		{110 * mb, 20 * mb, 0.5, 192 * mb},    // more than lives
	} {
		if got := gcRoom(test.before, test.live, test.share); got != test.want {
			t.Errorf("after %d of %d MB at %v: %d MB, want %d", test.before/mb, test.live/mb, test.share, got/mb, test.want/mb)
		}
	}
}

// held is what of the heap the system has not got back.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}

func TestGarbageAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	a := newAdapter()
	a.adapt(time.Second)
	begun := held()
	var last []byte
	for range 64 {
		last = make([]byte, 1<<20)
	}
	runtime.KeepAlive(last)
	full := held()
	if full < begun+32<<20 {
		t.Fatalf("the collector ran while garbage was made: %d MB held, %d before", full>>20, begun>>20)
	}
	a.quiet = gcQuiet - 3*time.Second
	a.adapt(2 * time.Second)
	if now := held(); now < full/2 {
		t.Errorf("after 29 s %d MB of %d are held", now>>20, full>>20)
	}
	a.adapt(2 * time.Second)
	if now := held(); now > full/2 {
		t.Errorf("after half a minute at rest %d MB of %d are held", now>>20, full>>20)
	}
}
