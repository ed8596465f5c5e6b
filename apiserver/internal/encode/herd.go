package encode

import (
	"sync"
	"sync/atomic"

	"xebec.dev/apiserver/internal/storage"
)

const (
	// blockObjects in a row are transcoded for all lists that are under way;
	// blockBytes bounds them as they are stored.
	blockObjects = 16
	blockBytes   = 256 << 10
	// herdBytes bounds the JSON that is kept for lists further behind.
	herdBytes = 16 << 20
)

// herd is what JSON lists of one resource that are under way at a time share.
// Clients list together when they have lost their watches together; each
// object is then transcoded about once for all of them. A list by itself
// shares nothing and keeps nothing.
type herd struct {
	lists atomic.Int32

	mu sync.Mutex // guards what follows
	// blocks by their first object. Objects are immutable, and one that has
	// changed is another.
	blocks map[*storage.Object]block
	oldest []*storage.Object
	bytes  int
}

type block struct {
	objects []*storage.Object
	json    []byte // each object after a comma
}

func (h *herd) enter() { h.lists.Add(1) }

// leave forgets everything when nobody is left to share it with.
func (h *herd) leave() {
	if h.lists.Add(-1) > 1 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blocks, h.oldest, h.bytes = nil, nil, 0
}

// find gives the JSON of objects if another list has made it, each after a
// comma.
func (h *herd) find(objects []*storage.Object) []byte {
	if h.lists.Load() < 2 {
		return nil
	}
	h.mu.Lock()
	b := h.blocks[objects[0]]
	h.mu.Unlock()
	if len(b.objects) != len(objects) {
		return nil
	}
	for i, o := range b.objects {
		if objects[i] != o {
			return nil
		}
	}
	return b.json
}

// share keeps a copy of the JSON of objects for the other lists.
func (h *herd) share(objects []*storage.Object, json []byte) {
	if h.lists.Load() < 2 {
		return
	}
	b := block{objects, append(append(make([]byte, 0, len(json)+1), ','), json...)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blocks == nil {
		h.blocks = map[*storage.Object]block{}
	}
	if _, there := h.blocks[objects[0]]; there {
		return // made by two at the same time
	}
	h.blocks[objects[0]] = b
	h.oldest = append(h.oldest, objects[0])
	for h.bytes += len(b.json); h.bytes > herdBytes; h.oldest = h.oldest[1:] {
		h.bytes -= len(h.blocks[h.oldest[0]].json)
		delete(h.blocks, h.oldest[0])
	}
}

// small reports whether objects make a block of reasonable size.
func small(objects []*storage.Object) bool {
	n := 0
	for _, o := range objects {
		n += len(o.Raw)
	}
	return n <= blockBytes
}
