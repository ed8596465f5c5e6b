package queue

import (
	"time"

	"xebec.dev/scheduler/internal/framework"
)

// ordered is the active queue: a heap by the profile's order.
type ordered struct {
	list []*Entry
	less func(a, b *framework.Queued) bool
}

func (h *ordered) Len() int           { return len(h.list) }
func (h *ordered) Less(i, j int) bool { return before(h.less, h.list[i], h.list[j]) }
func (h *ordered) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].at, h.list[j].at = i, j
}
func (h *ordered) Push(x any) {
	e := x.(*Entry)
	e.at = len(h.list)
	h.list = append(h.list, e)
}
func (h *ordered) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return e
}

// before breaks ties by who came to the queue first.
func before(less func(a, b *framework.Queued) bool, a, b *Entry) bool {
	if less(&a.Queued, &b.Queued) {
		return true
	}
	return a.number < b.number && !less(&b.Queued, &a.Queued)
}

// window is how far apart the ends of two pauses are that count as one: then
// the more important pod goes first.
const window = time.Second

// paused is pods that pause: a heap by when the pause ends.
type paused struct {
	list []*Entry
	less func(a, b *framework.Queued) bool
}

func (h *paused) Len() int { return len(h.list) }
func (h *paused) Less(i, j int) bool {
	a, b := h.list[i], h.list[j]
	if x, y := a.until.Truncate(window), b.until.Truncate(window); !x.Equal(y) {
		return x.Before(y)
	}
	return before(h.less, a, b)
}
func (h *paused) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].at, h.list[j].at = i, j
}
func (h *paused) Push(x any) {
	e := x.(*Entry)
	e.at = len(h.list)
	h.list = append(h.list, e)
}
func (h *paused) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return e
}
