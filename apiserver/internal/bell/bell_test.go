package bell

import (
	"slices"
	"sync"
	"testing"
)

func taken(b *Board[string]) []string {
	var got []string
	b.Take(func(s string) { got = append(got, s) })
	return got
}

func TestBoard(t *testing.T) {
	board := NewBoard[string]()
	x, y := board.Bell("x"), board.Bell("y")
	y.Ring()
	x.Ring()
	y.Ring()
	<-board.C()
	if got := taken(board); !slices.Equal(got, []string{"y", "x"}) {
		t.Errorf("took %q", got)
	}
	select {
	case <-board.C():
		t.Error("woken again without news")
	default:
	}
	if got := taken(board); got != nil {
		t.Errorf("took %q again", got)
	}
	y.Ring()
	if got := taken(board); !slices.Equal(got, []string{"y"}) {
		t.Errorf("took %q the second time", got)
	}
	board.Wake()
	<-board.C()
	<-func() <-chan struct{} { board.Wake(); return board.C() }()
}

// TestNothingIsMissed: what is counted before its bell rings is seen by a
// listener that takes and then looks.
func TestNothingIsMissed(t *testing.T) {
	const things, rounds = 8, 2000
	type thing struct {
		mu    sync.Mutex
		count int
	}
	board := NewBoard[*thing]()
	var all []*thing
	var writers sync.WaitGroup
	for range things {
		it := &thing{}
		all = append(all, it)
		b := board.Bell(it)
		writers.Go(func() {
			for range rounds {
				it.mu.Lock()
				it.count++
				it.mu.Unlock()
				b.Ring()
			}
		})
	}
	seen := map[*thing]int{}
	for len(seen) < things || slices.ContainsFunc(all, func(it *thing) bool { return seen[it] < rounds }) {
		<-board.C()
		var todo []*thing
		board.Take(func(it *thing) { todo = append(todo, it) })
		for _, it := range todo {
			it.mu.Lock()
			seen[it] = it.count
			it.mu.Unlock()
		}
	}
	writers.Wait()
}
