package state

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// There is a kube-proxy on every node, and most of the time it has nothing to
// do. What it knows of a large cluster would double as garbage lies about; so
// there is room for a fixed amount of it while changes come, and what is left
// of that goes back to the system once it is quiet.
const (
	// gcRoom is the room for garbage in bytes: some thousand changes of one
	// endpoint.
	gcRoom = 16 << 20
	// gcLeast and gcMost are the percentages of what is in use that it may be.
	gcLeast, gcMost = 20, 80
	// gcTrifle is what may lie about at rest: to be asked for metrics makes some.
	gcTrifle = 4 << 20
)

// memory keeps the process small. Its zero value is ready.
type memory struct{ allocated uint64 }

// StartMemory sets what holds until everything is loaded.
func StartMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcMost)
	}
}

// release collects and gives back, unless little has been made since the last
// time.
func (m *memory) release() {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	if samples[0].Value.Uint64()-m.allocated < gcTrifle {
		return
	}
	debug.FreeOSMemory()
	metrics.Read(samples)
	m.allocated = samples[0].Value.Uint64()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(samples[1].Value.Uint64()))
	}
}

// alone has goroutines run one at a time once everything is loaded. A change
// passes through several of them, one after the other: with processors to
// spare the runtime wakes a thread for each and has it look for more work,
// which takes longer than the change.
func alone() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

func gcPercent(live uint64) int {
	return int(max(gcLeast, min(gcMost, gcRoom*100/max(live, 1))))
}
