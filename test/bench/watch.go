package main

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// frames counts the events of a protobuf watch by their length prefixes.
type frames struct {
	skip   int
	prefix [4]byte
	have   int
}

// take returns how many events end within b.
func (f *frames) take(b []byte) int {
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

// watched is what became of a fan-out.
type watched struct {
	result
	sent    int
	closed  int64 // watches that the server ended
	lagging int64 // events that came more than a second late
	missing int64
}

const streamsPerConnection = 25

// fanOut opens n watches and calls write at the given rate; every watcher is
// to get every write. Lag counts from the start of a write, so it holds the
// write's own time.
func fanOut(server *process, config *tls.Config, revision string, n, rate int, d time.Duration, write func(i int) error) (*watched, error) {
	conns, err := dialAll((n+streamsPerConnection-1)/streamsPerConnection, server.address(), config)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	total := int(d.Seconds() * float64(rate))
	f := &fan{epoch: time.Now(), starts: make([]atomic.Int64, total), watchers: make([]watcher, n)}
	for i := range n {
		if err := f.open(conns[i%len(conns)], i, revision); err != nil {
			return nil, err
		}
	}
	time.Sleep(300 * time.Millisecond) // until all of them are served
	before, start := server.cpu(), time.Now()
	for i := range total {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		f.starts[i].Store(int64(time.Since(f.epoch)))
		if err := write(i); err != nil {
			return nil, err
		}
	}
	want := int64(total) * int64(n)
	for wait := time.Now().Add(10 * time.Second); f.delivered.Load() < want && f.closed.Load() < int64(n) && time.Now().Before(wait); {
		time.Sleep(5 * time.Millisecond)
	}
	w := &watched{sent: total, closed: f.closed.Load(), missing: want - f.delivered.Load()}
	w.cpu, w.elapsed = server.cpu()-before, time.Since(start)
	conns.close()
	f.ends.Wait()
	return w, f.collect(w)
}

// fan is the watchers of one measurement.
type fan struct {
	epoch             time.Time
	starts            []atomic.Int64 // of each write, since epoch
	watchers          []watcher
	delivered, closed atomic.Int64
	ends              sync.WaitGroup
}

type watcher struct {
	stream *stream
	frames frames
	lat    []time.Duration // by the order of the writes
}

func (f *fan) open(c *conn, i int, revision string) error {
	w := &f.watchers[i]
	w.lat = make([]time.Duration, 0, len(f.starts))
	onData := func(b []byte) {
		got := w.frames.take(b)
		if got == 0 {
			return
		}
		f.delivered.Add(int64(got))
		now := int64(time.Since(f.epoch))
		for ; got > 0 && len(w.lat) < len(f.starts); got-- {
			w.lat = append(w.lat, time.Duration(now-f.starts[len(w.lat)].Load()))
		}
	}
	s, err := c.start(request{
		method: "GET", path: "/api/v1/namespaces/" + namespace + "/pods?watch=1&resourceVersion=" + revision,
		header: []string{"accept", protobuf + ";stream=watch", "user-agent", "bench/1"}, onData: onData,
	})
	if err != nil {
		return err
	}
	w.stream = s
	f.ends.Go(func() {
		<-s.end
		f.closed.Add(1)
	})
	return nil
}

func (f *fan) collect(w *watched) error {
	for i := range f.watchers {
		if s := f.watchers[i].stream.status; s != 200 {
			return fmt.Errorf("watch: HTTP %d", s)
		}
		w.lat = append(w.lat, f.watchers[i].lat...)
	}
	w.ops = len(w.lat)
	slices.Sort(w.lat)
	for _, l := range w.lat {
		if l > time.Second {
			w.lagging++
		}
	}
	return nil
}
