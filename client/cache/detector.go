package cache

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// detectEvery is how often objects are compared with what they were.
const detectEvery = time.Second

// detector remembers what objects looked like when they entered a replica,
// until they leave it. A nil detector does nothing.
type detector struct {
	seed maphash.Seed

	mu   sync.Mutex
	sums map[message]uint64 // guarded by mu
}

// message is an item that can be compared: an object.
type message interface {
	Item
	Marshal() ([]byte, error)
}

func newDetector() *detector {
	return &detector{seed: maphash.MakeSeed(), sums: map[message]uint64{}}
}

func (d *detector) sum(obj message) uint64 {
	raw, err := obj.Marshal()
	if err != nil {
		panic(fmt.Sprintf("cache: an object of a replica can't be encoded: %v", err))
	}
	return maphash.Bytes(d.seed, raw)
}

// enter remembers an object.
func (d *detector) enter(item Item) {
	if d == nil {
		return
	}
	obj, ok := item.(message)
	if !ok {
		return
	}
	sum := d.sum(obj)
	d.mu.Lock()
	d.sums[obj] = sum
	d.mu.Unlock()
}

// leave checks an object for the last time.
func (d *detector) leave(item Item) {
	if d == nil {
		return
	}
	obj, ok := item.(message)
	if !ok {
		return
	}
	d.mu.Lock()
	sum, known := d.sums[obj]
	delete(d.sums, obj)
	d.mu.Unlock()
	if known {
		d.compare(obj, sum)
	}
}

func (d *detector) compare(obj message, sum uint64) {
	if d.sum(obj) != sum {
		panic(fmt.Sprintf("cache: somebody changed an object of a replica, which is shared: %T %s/%s", obj, obj.GetNamespace(), obj.GetName()))
	}
}

// check compares all objects.
func (d *detector) check() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for obj, sum := range d.sums {
		d.compare(obj, sum)
	}
}

// run checks now and then until the returned function is called, which checks
// once more.
func (d *detector) run() (stop func()) {
	if d == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(detectEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				d.check()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		d.check()
	}
}
