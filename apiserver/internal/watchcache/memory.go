package watchcache

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// gcFree is the garbage that may gather whatever the size of the heap;
	// gcShare is the share of a large heap that may gather on top. Most of a
	// large heap are objects' bytes, which cost the collector nothing to
	// scan, so that it can run often.
	gcFree  = 20 << 20
	gcShare = 16
)

// gcPercent is GOGC for a heap of so many live bytes: the usual 100 while it
// is small, and less and less as it grows, so that the process does not take
// twice the memory of what it caches.
func gcPercent(live uint64) int {
	if live <= gcFree {
		return 100
	}
	return int((gcFree + live/gcShare) * 100 / live)
}

// AdaptGC keeps GOGC fit to the heap until ctx ends. It decides after each
// collection; one per process is enough.
func AdaptGC(ctx context.Context) {
	var current atomic.Int64
	before := debug.SetGCPercent(100)
	current.Store(100)
	// An object that dies at each collection tells that there was one.
	var arm func()
	tick := func(int) {
		if ctx.Err() != nil {
			debug.SetGCPercent(before)
			return
		}
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		percent := int64(gcPercent(sample[0].Value.Uint64()))
		// Setting it stops the world for a moment: not for a trifle.
		if have := current.Load(); percent*10 < have*9 || percent*9 > have*10 {
			current.Store(percent)
			debug.SetGCPercent(int(percent))
		}
		arm()
	}
	arm = func() {
		sentinel := new([16]byte)
		runtime.AddCleanup(sentinel, tick, 0)
	}
	arm()
}
