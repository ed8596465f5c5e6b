package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// frames takes a watch apart into events.
type frames interface {
	// take returns how many events end within b.
	take(b []byte) int
}

// prefixed are the events of a protobuf watch: each has its length before it.
type prefixed struct {
	skip   int
	prefix [4]byte
	have   int
}

func (f *prefixed) take(b []byte) int {
	n := 0
	for len(b) > 0 {
		if f.skip > 0 {
			k := min(f.skip, len(b))
			f.skip -= k
			b = b[k:]
			if f.skip == 0 {
				n++
			}
			continue
		}
		k := copy(f.prefix[f.have:], b)
		f.have += k
		b = b[k:]
		if f.have == 4 {
			f.skip, f.have = int(binary.BigEndian.Uint32(f.prefix[:])), 0
		}
	}
	return n
}

// lines are the events of a JSON watch.
type lines struct{}

func (lines) take(b []byte) int { return bytes.Count(b, []byte{'\n'}) }

// watched is what became of a fan-out.
type watched struct {
	result
	writes  float64 // a second, as they were answered
	closed  int64   // watches that the server ended
	lagging int64   // events that came more than a second late
	missing int64
}

const (
	streamsPerConnection = 25
	// patience is how long events may come after the last write; what has not
	// come by then counts as missing.
	patience = 20 * time.Second
)

// fanOut is one measurement of watchers who are all to get every write.
type fanOut struct {
	server   *process
	config   *tls.Config
	form     string // protobuf, JSON or gRPC: subscriptions of one stream
	revision int64
	n, rate  int
	d        time.Duration
	// writers share the writes, each waiting for its own only. With one, lag
	// counts from when a write was sent. With more than one, a write is known by
	// its number in the name of its pod, and lag counts from when it was due, so
	// that a late or slow write makes its events late too.
	writers []func(i int) error
}

// run writes at the given rate.
func (o *fanOut) run() (*watched, error) {
	count := (o.n + streamsPerConnection - 1) / streamsPerConnection
	if o.form == "gRPC" {
		count = 1
	}
	conns, err := dialAll(count, o.server.address(), o.config)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	total := int(o.d.Seconds() * float64(o.rate))
	f := &fan{epoch: time.Now(), total: total, watchers: make([]watcher, o.n), ordered: len(o.writers) > 1}
	if err := f.open(conns, o); err != nil {
		return nil, err
	}
	time.Sleep(300 * time.Millisecond) // until all of them are served
	before, start := o.server.cpu(), time.Now()
	due := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second / time.Duration(o.rate)) }
	began, err := o.write(total, due)
	if err != nil {
		return nil, err
	}
	w := &watched{writes: float64(total) / time.Since(start).Seconds()}
	want := int64(total) * int64(o.n)
	for wait := time.Now().Add(patience); f.delivered.Load() < want && f.closed.Load() < int64(f.streams) && time.Now().Before(wait); {
		time.Sleep(5 * time.Millisecond)
	}
	w.closed, w.missing = f.closed.Load(), want-f.delivered.Load()
	w.cpu, w.elapsed = o.server.cpu()-before, time.Since(start)
	conns.close()
	f.ends.Wait()
	return w, f.collect(w, func(i int) time.Time {
		if f.ordered {
			return due(i)
		}
		return began[i]
	})
}

// write runs the writers, each by the clock; it returns when each write began.
func (o *fanOut) write(total int, due func(i int) time.Time) ([]time.Time, error) {
	began := make([]time.Time, total)
	errs := make(chan error, len(o.writers))
	for k, write := range o.writers {
		go func() {
			for i := k; i < total; i += len(o.writers) {
				time.Sleep(time.Until(due(i)))
				began[i] = time.Now()
				if err := write(i); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range o.writers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return began, first
}

// fan is the watchers of one measurement.
type fan struct {
	epoch    time.Time
	total    int
	watchers []watcher
	// ordered says to find out the order of the writes: the first watcher does.
	ordered           bool
	order             []int
	delivered, closed atomic.Int64
	streams           int
	ends              sync.WaitGroup
}

type watcher struct {
	stream *stream
	frames frames
	at     []time.Duration // when events came, since epoch
}

// got notes events of a watcher; its connection's reader calls it.
func (f *fan) got(w *watcher, events int) {
	if events == 0 {
		return
	}
	f.delivered.Add(int64(events))
	now := time.Since(f.epoch)
	for ; events > 0 && len(w.at) < f.total; events-- {
		w.at = append(w.at, now)
	}
}

func (f *fan) open(conns pool, o *fanOut) error {
	for i := range f.watchers {
		f.watchers[i].at = make([]time.Duration, 0, f.total)
	}
	if o.form == "gRPC" {
		s, err := subscribe(conns[0], o.n, o.revision, func(id, events int) { f.got(&f.watchers[id], events) })
		if err != nil {
			return err
		}
		f.watch(&f.watchers[0], s)
		return nil
	}
	accept := protobuf + ";stream=watch"
	if o.form == "JSON" {
		accept = jsonType
	}
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods?watch=1&resourceVersion=%d", namespace, o.revision)
	for i := range f.watchers {
		w := &f.watchers[i]
		if w.frames = new(prefixed); o.form == "JSON" {
			w.frames = lines{}
		}
		onData := func(b []byte) { f.got(w, w.frames.take(b)) }
		if f.ordered && i == 0 {
			names := names{}
			onData = func(b []byte) {
				f.got(w, w.frames.take(b))
				f.order = names.take(f.order, b)
			}
		}
		s, err := conns[i%len(conns)].start(request{method: "GET", path: path, header: []string{"accept", accept, "user-agent", "bench/1"}, onData: onData})
		if err != nil {
			return err
		}
		f.watch(w, s)
	}
	return nil
}

func (f *fan) watch(w *watcher, s *stream) {
	w.stream = s
	f.streams++
	f.ends.Go(func() {
		<-s.end
		f.closed.Add(1)
	})
}

// heldName begins the names of pods whose order is found out; nine digits
// follow.
const heldName = "pod-h"

// names finds pods' numbers in the bytes of a watch. A name may be there more
// than once in an event: the first counts.
type names struct {
	rest []byte
	seen map[int]bool
}

func (s *names) take(order []int, b []byte) []int {
	if s.seen == nil {
		s.seen = map[int]bool{}
	}
	s.rest = append(s.rest, b...)
	b = s.rest
	for {
		at := bytes.Index(b, []byte(heldName))
		if at < 0 {
			b = b[max(0, len(b)-len(heldName)+1):]
			break
		}
		end := at + len(heldName) + 9
		if end > len(b) {
			b = b[at:]
			break
		}
		if i, err := strconv.Atoi(string(b[at+len(heldName) : end])); err == nil && !s.seen[i] {
			s.seen[i] = true
			order = append(order, i)
		}
		b = b[end:]
	}
	s.rest = append(s.rest[:0], b...)
	return order
}

// collect is called once the connections are closed.
func (f *fan) collect(w *watched, since func(i int) time.Time) error {
	for i := range f.watchers {
		if s := f.watchers[i].stream; s != nil && s.status != 200 {
			return fmt.Errorf("watch: HTTP %d", s.status)
		}
		for k, at := range f.watchers[i].at {
			if f.ordered {
				if k >= len(f.order) {
					break
				}
				w.lat = append(w.lat, f.epoch.Add(at).Sub(since(f.order[k])))
				continue
			}
			w.lat = append(w.lat, f.epoch.Add(at).Sub(since(k)))
		}
	}
	w.ops = int(f.delivered.Load())
	slices.Sort(w.lat)
	for _, l := range w.lat {
		if l > time.Second {
			w.lagging++
		}
	}
	return nil
}
