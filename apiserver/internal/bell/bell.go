// Package bell tells one goroutine which of many things have news.
package bell

import (
	"sync"
	"sync/atomic"
)

// Board is where bells of a kind are heard. One goroutine listens: it waits on
// C, then takes what rang. NewBoard makes one.
type Board[T any] struct {
	signal chan struct{}
	mu     sync.Mutex // held for a moment only: who rings may hold locks
	rung   []*Bell[T] // guarded by mu
}

// NewBoard makes a board without bells.
func NewBoard[T any]() *Board[T] { return &Board[T]{signal: make(chan struct{}, 1)} }

// Bell is one thing's. It rings once until it is taken.
type Bell[T any] struct {
	board *Board[T]
	of    T
	rung  atomic.Bool
}

// Bell makes a bell for something.
func (b *Board[T]) Bell(of T) *Bell[T] { return &Bell[T]{board: b, of: of} }

// Ring notes that there is news, and wakes the listener.
func (b *Bell[T]) Ring() {
	if b.rung.Swap(true) {
		return
	}
	b.board.mu.Lock()
	b.board.rung = append(b.board.rung, b)
	b.board.mu.Unlock()
	b.board.Wake()
}

// Wake has the listener look, though nothing rang.
func (b *Board[T]) Wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// C has something when a bell rang, or Wake was called, since it was last read.
func (b *Board[T]) C() <-chan struct{} { return b.signal }

// Take calls visit for what rang since the last time, and returns how many
// that were. A bell that rings from then on is taken the next time, so what
// visit looks at afterwards is not missed. visit must not ring.
func (b *Board[T]) Take(visit func(T)) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.rung)
	for i, r := range b.rung {
		r.rung.Store(false)
		visit(r.of)
		b.rung[i] = nil
	}
	b.rung = b.rung[:0]
	return n
}
