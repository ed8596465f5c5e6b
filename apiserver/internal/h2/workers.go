package h2

import "sync"

// workers are goroutines for handlers, the process's. An idle one keeps its
// stack, which has grown to what handlers need: growing it anew costs a request
// more than starting a goroutine does.
var workers crew

type crew struct {
	mu   sync.Mutex
	idle []chan func() // guarded by mu
}

// keepWorkers is how many idle ones are kept, of some 30 KB each.
const keepWorkers = 64

func (w *crew) start(f func()) {
	w.mu.Lock()
	n := len(w.idle)
	if n == 0 {
		w.mu.Unlock()
		go w.loop(f)
		return
	}
	in := w.idle[n-1]
	w.idle = w.idle[:n-1]
	w.mu.Unlock()
	in <- f // has room
}

func (w *crew) loop(f func()) {
	in := make(chan func(), 1)
	for {
		f()
		f = nil // what it holds is not to be kept
		w.mu.Lock()
		if len(w.idle) >= keepWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, in)
		w.mu.Unlock()
		f = <-in
	}
}
