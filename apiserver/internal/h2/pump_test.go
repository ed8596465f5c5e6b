package h2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// feedTopic is numbers from 1 on, for everybody from the beginning.
type feedTopic struct {
	mu     sync.Mutex
	newest uint32
	size   int // of an event
	alarms []Alarm
	end    error
}

func (f *feedTopic) Join(a Alarm) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alarms = append(f.alarms, a)
}

func (f *feedTopic) Leave(a Alarm) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alarms = slices.DeleteFunc(f.alarms, func(b Alarm) bool { return a == b })
}

func (f *feedTopic) publish(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest += uint32(n)
	for _, a := range f.alarms {
		a.Ring() // while it is locked, as the watch cache does
	}
}

func (f *feedTopic) joined() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.alarms)
}

type numbers struct {
	topic *feedTopic
	last  uint32
	due   time.Time
}

func (n *numbers) Next() ([]byte, error) {
	n.topic.mu.Lock()
	defer n.topic.mu.Unlock()
	if n.last == n.topic.newest {
		return nil, n.topic.end
	}
	n.last++
	b := make([]byte, max(n.topic.size, 4))
	binary.BigEndian.PutUint32(b, n.last)
	return b, nil
}

func (n *numbers) Due() time.Time { return n.due }
func (n *numbers) Topic() Topic   { return n.topic }

// watching serves topics by path.
func watching(topics map[string]*feedTopic, ended chan error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		topic := topics[r.URL.Path]
		if topic == nil {
			return
		}
		w.(http.Flusher).Flush()
		ours, err := Deliver(r.Context(), w, &numbers{topic: topic})
		if ended != nil {
			ended <- err
		}
		if err == ErrSlow {
			panic(http.ErrAbortHandler)
		}
		if ours {
			_, _ = io.WriteString(w, "end.")
		}
	})
}

// TestPump: every watcher gets every event of its topic, in order, whatever
// their size; and what the handler writes after them.
func TestPump(t *testing.T) {
	for _, size := range []int{4, 3000, 40 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			topics := map[string]*feedTopic{"/a": {size: size}, "/b": {size: size}}
			s := startTLS(t, New(Options{}), watching(topics, nil))
			c := s.client(t)
			const events = 200
			var g sync.WaitGroup
			for i := range 20 {
				g.Go(func() {
					resp, err := c.Get(s.url + []string{"/a", "/b"}[i%2])
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					b := make([]byte, size)
					for n := range uint32(events) {
						if _, err := io.ReadFull(resp.Body, b); err != nil {
							t.Error(err)
							return
						}
						if got := binary.BigEndian.Uint32(b); got != n+1 {
							t.Errorf("event %d where %d should be", got, n+1)
							return
						}
					}
					if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "end." {
						t.Errorf("%q %v", rest, err)
					}
				})
			}
			for i := range events {
				topics["/a"].publish(1)
				if i%10 == 9 {
					topics["/b"].publish(10)
				}
			}
			for _, topic := range topics {
				topic.mu.Lock()
				topic.end = io.EOF
				topic.mu.Unlock()
				topic.publish(0)
			}
			g.Wait()
			// The end is written first; the pump leaves the topic after that.
			for name, topic := range topics {
				for end := time.Now().Add(long); topic.joined() > 0; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%s has %d alarms after the last watcher", name, topic.joined())
					}
				}
			}
		})
	}
}

// TestPumpSlow: a watcher that makes no room holds up nobody, goes on when it
// does, and is cut off when it never does.
func TestPumpSlow(t *testing.T) {
	topics := map[string]*feedTopic{"/a": {size: 30 << 10}}
	ended := make(chan error, 4)
	s := New(Options{Patience: 300 * time.Millisecond})
	p := connect(t, s, watching(topics, ended)).greet()
	p.raw(http2.FrameWindowUpdate, 0, 0, window(1<<30))
	for _, id := range []uint32{1, 3, 5} {
		p.request(id, true, "GET", "/a")
	}
	const events = 50
	p.raw(http2.FrameWindowUpdate, 0, 3, window(events*30<<10))
	topics["/a"].publish(events)
	got := map[uint32]int{}
	cut := map[uint32]bool{}
	grown := false
	for len(cut) < 2 || got[3] < events*30<<10 {
		f, err := p.next()
		if err != nil {
			t.Fatal(err, got, cut)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			if got[f.StreamID] += len(f.Data()); got[5] == firstWindow && !grown {
				grown = true
				p.raw(http2.FrameWindowUpdate, 0, 5, window(1000))
			}
		case *http2.RSTStreamFrame:
			cut[f.StreamID] = true
		}
	}
	if got[1] != firstWindow || got[5] != firstWindow+1000 || cut[3] {
		t.Error(got, cut)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrSlow) {
			t.Error(err)
		}
	}
}

// TestPumpDue: a source is asked when it is due, without news.
func TestPumpDue(t *testing.T) {
	topic := &feedTopic{}
	asked := make(chan struct{}, 100)
	s := startTLS(t, New(Options{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = Deliver(r.Context(), w, &punctual{numbers{topic: topic}, asked})
	}))
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "GET", s.url, nil)
	resp, err := s.client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 5 {
		<-asked
	}
	cancel()
	for deadline := time.Now().Add(long); topic.joined() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the feed outlives its client")
		}
	}
}

type punctual struct {
	numbers
	asked chan struct{}
}

func (p *punctual) Next() ([]byte, error) {
	select {
	case p.asked <- struct{}{}:
	default:
	}
	p.due = time.Now().Add(5 * time.Millisecond)
	return nil, nil
}

// TestDeliverElsewhere: other servers' writers are left alone.
func TestDeliverElsewhere(t *testing.T) {
	if ours, _ := Deliver(context.Background(), struct{ http.ResponseWriter }{}, &numbers{}); ours {
		t.Error("it is not ours")
	}
}
