package watchcache

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"xebec.dev/client/resident"
)

// The garbage collector runs when garbage has grown to a share of what lives,
// by default as much again. Most of what lives here are objects' bytes, which
// cost it nothing to scan, so it can run far more often and leave the memory
// to others, as long as it does not take too much of the processor.
const (
	// gcLeast is the room for garbage of a large heap at rest.
	gcLeast = 8 << 20
	// gcLow and gcHigh are the shares of the processor's time between which
	// the room stays as it is.
	gcLow, gcHigh = 0.005, 0.015
	// gcMost is the room a busy server takes, however little lives.
	gcMost = 192 << 20
)

// gcRoom is the room for garbage until the next collection: more than before
// when collecting took a large share of the time, less when it took little.
func gcRoom(before, live uint64, share float64) uint64 {
	least := min(live, gcLeast+live/64)
	most := max(live/4, gcMost)
	switch {
	case share > 4*gcHigh:
		before *= 2
	case share > gcHigh:
		before += before / 2
	case share < gcLow:
		before -= before / 8
	}
	return max(min(before, most), least, 4<<20)
}

const (
	// gcStart is the room while the cache is being filled, and gcFirst the
	// percentage of the first moment of it: nearly all that is made then stays,
	// and collecting would only look at it again and again.
	gcStart = 64 << 20
	gcFirst = 200
	// gcEvery is how often collecting is looked at, gcRest how seldom where
	// nothing was collected: an idle server is woken by little else.
	gcEvery = time.Second / 4
	gcRest  = 2 * time.Second
	// gcQuiet is how long nothing was collected when what lies about goes back
	// to the system, unless it is less than gcTrifle.
	gcQuiet  = 30 * time.Second
	gcTrifle = 6 << 20
)

// AdaptGC keeps the collector fit to the heap until ctx ends. One per process
// is enough.
func AdaptGC(ctx context.Context) {
	a := newAdapter()
	before := debug.SetGCPercent(gcFirst)
	defer debug.SetGCPercent(before)
	for every := gcEvery; ; {
		t := time.NewTimer(every)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if a.adapt(every) {
			every = gcEvery
		} else {
			every = min(2*every, gcRest)
		}
	}
}

type adapter struct {
	samples   []metrics.Sample
	room      uint64
	percent   int
	collected float64 // seconds at the last decision
	quiet     time.Duration
}

func newAdapter() *adapter {
	return &adapter{room: gcStart, samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}}
}

// adapt looks back over a time, and reports whether anything was collected.
func (a *adapter) adapt(since time.Duration) bool {
	metrics.Read(a.samples)
	live := max(a.samples[0].Value.Uint64(), 1)
	collected := a.samples[1].Value.Float64() + a.samples[2].Value.Float64()
	spent := collected - a.collected
	share := spent / since.Seconds() / float64(runtime.GOMAXPROCS(0))
	a.collected = collected
	a.room = gcRoom(a.room, live, share)
	// Setting it stops the world for a moment: not for a trifle.
	percent := int(min(a.room*100/live, 2000))
	if percent*10 < a.percent*9 || percent*9 > a.percent*10 {
		a.percent = percent
		debug.SetGCPercent(percent)
	}
	if a.quiet += since; spent > 0 {
		a.quiet = 0
	}
	garbage := a.samples[3].Value.Uint64() - min(live, a.samples[3].Value.Uint64())
	if a.quiet >= gcQuiet && garbage+a.samples[4].Value.Uint64() >= gcTrifle {
		if err := resident.Trim(); err != nil {
			debug.FreeOSMemory()
		}
		// Its own collection is no sign of life.
		metrics.Read(a.samples)
		a.collected, a.quiet = a.samples[1].Value.Float64()+a.samples[2].Value.Float64(), 0
	}
	return spent > 0
}
