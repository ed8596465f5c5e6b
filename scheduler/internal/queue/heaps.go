package queue

import "xebec.dev/scheduler/internal/framework"

// ordered is the active queue: a heap by the profile's order.
type ordered struct {
	list []*Entry
	less func(a, b *framework.Queued) bool
}

func (h *ordered) Len() int           { return len(h.list) }
func (h *ordered) Less(i, j int) bool { return h.less(&h.list[i].Queued, &h.list[j].Queued) }
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

// paused is pods that pause: a heap by when the pause ends.
type paused []*Entry

func (h paused) Len() int           { return len(h) }
func (h paused) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h paused) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *paused) Push(x any) {
	e := x.(*Entry)
	e.at = len(*h)
	*h = append(*h, e)
}
func (h *paused) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
