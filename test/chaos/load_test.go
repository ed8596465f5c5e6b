package chaos

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/history"
)

// metric reads one number of /metrics.
func metric(t testing.TB, resp *http.Response, prefix string) int {
	t.Helper()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			n, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("no metric %q", prefix)
	return 0
}

// pace writes at a steady rate, updating keys one after another, until stop
// is closed.
func pace(ctx context.Context, rec *history.Recorder, d door, perSecond, keys int, stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	w := newWriter(rec, 1, keys)
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			w.n++
			key := fmt.Sprintf("k%02d", w.n%keys)
			o := history.Op{Verb: history.Create, Key: key, Value: fmt.Sprintf("c%d-%d-%d", w.id, w.n, w.n%10)}
			if v, ok := w.seen[key]; ok {
				o.Verb, o.Expect, o.Base = history.Update, v.Value, v.Revision
			}
			w.learn(ctx, d, w.op(ctx, d, o))
		}
	})
	return wg.Wait
}

// TestResumeOverRestart is F10: a hundred watches at a hundred events a
// second outlive kills of the server. Each resumes where it was, without a
// new list, and sees exactly what came after.
func TestResumeOverRestart(t *testing.T) {
	const watches, keys = 100, 20
	e := startEtcd(t)
	s := over(t, "http://"+e.host)
	prepare(t, s)
	rec := history.NewRecorder()
	d := restDoor(t, s)
	begin := list(t, rec, d)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(rounds(2))*10*time.Second)
	defer cancel()
	followers := make([]*follower, watches)
	var doors []door
	for range 4 {
		doors = append(doors, restDoor(t, s), rpcDoor(t, s))
	}
	var watching sync.WaitGroup
	for i := range followers {
		followers[i] = &follower{name: fmt.Sprintf("watch %d", i), door: doors[i%len(doors)]}
		watching.Go(func() { followers[i].run(ctx, begin.Revision) })
	}
	stop := make(chan struct{})
	wait := pace(ctx, rec, d, 100, keys, stop)
	for i := range rounds(2) {
		time.Sleep(1200 * time.Millisecond)
		if i%2 == 0 {
			s.Kill()
		} else {
			s.Stop(t)
		}
		s.Run(t)
	}
	time.Sleep(time.Second)
	close(stop)
	wait()
	settle(t, rec, d, keys)
	finish(t, rec, d)
	watching.Wait()
	truth := followed(t, &follower{name: "all", door: doors[1]}, begin.Revision).merged()
	truth.Start = begin.Items
	if err := errors.Join(history.Witnessed(truth, rec.Ops()), history.Fitting(truth)); err != nil {
		t.Error(err)
	}
	streams := 0
	for _, f := range followers {
		if err := f.check(truth.Events); err != nil {
			t.Error(err)
		}
		streams += len(f.segments)
	}
	t.Logf("%d events, %d streams", len(truth.Events), streams)
	if streams < 2*watches {
		t.Errorf("%d streams of %d watches: the restarts broke none", streams, watches)
	}
}

// TestSlowWatchers is F11: watchers that read a byte a second delay nobody,
// are cut off within a minute, and cost the server no memory to speak of.
func TestSlowWatchers(t *testing.T) {
	const slow, keys = 20, 10
	s := apiservertest.Start(t)
	prepare(t, s)
	rec := history.NewRecorder()
	d := restDoor(t, s)
	begin := list(t, rec, d)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	fast := &latency{follower: follower{name: "fast", door: d}, wrote: map[string]time.Time{}}
	var watching sync.WaitGroup
	watching.Go(func() { fast.run(ctx, begin.Revision) })
	stop := make(chan struct{})
	var writing sync.WaitGroup
	fast.large.Store(true)
	for i := range 4 {
		writing.Go(func() { fast.write(ctx, d, i, keys, stop) })
	}
	time.Sleep(3 * time.Second)
	before, began := sample(t, s, d.client), time.Now()
	for range slow {
		go crawl(ctx, t, s, begin.Revision)
	}
	eventually(t, 20*time.Second, "slow watchers are connected", func() bool { return sample(t, s, d.client).Sockets >= before.Sockets+slow })
	// More than the buffers of both ends hold, so that every one is stuck.
	enough := fast.bytes.Load() + 24<<20
	eventually(t, time.Minute, "the slow watchers' buffers are full", func() bool { return fast.bytes.Load() >= enough })
	fast.large.Store(false)
	// The clients can't tell: they have yet to read what is on the way.
	eventually(t, 2*time.Minute, "slow watchers are cut off", func() bool { return sample(t, s, d.client).Sockets < before.Sockets+3 })
	slowest, after := time.Since(began), sample(t, s, d.client)
	close(stop)
	writing.Wait()
	finish(t, rec, d)
	watching.Wait()
	if fast.err != nil {
		t.Fatal(fast.err)
	}
	slices.Sort(fast.took)
	p99 := fast.took[len(fast.took)*99/100]
	t.Logf("the last slow watcher was cut after %v; %d events to a fast one, p99 %v; resident %d MiB, then %d MiB", slowest, len(fast.took), p99, before.RSS>>20, after.RSS>>20)
	if p99 > time.Second {
		t.Errorf("p99 of the fast watcher is %v", p99)
	}
	if err := history.Bounded(before, after); err != nil {
		t.Error(err)
	}
}

// crawl watches and reads a byte a second, until it is cut off.
func crawl(ctx context.Context, t *testing.T, s *apiservertest.Server, after int64) {
	config := s.TLS(t)
	config.ServerName = "127.0.0.1"
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		t.Error(err)
		return
	}
	defer raw.Close()
	_ = raw.(*net.TCPConn).SetReadBuffer(4 << 10) // a hint
	conn := tls.Client(&trickle{Conn: raw, ctx: ctx}, config)
	fmt.Fprintf(conn, "GET /api/v1/namespaces/%s/configmaps?watch=1&resourceVersion=%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", namespace, after)
	_, _ = io.Copy(io.Discard, conn) // the server's side tells
}

// trickle gives a little at once, for the handshake, then a byte a second.
type trickle struct {
	net.Conn
	ctx  context.Context
	read int
}

func (c *trickle) Read(p []byte) (int, error) {
	if c.read < 16<<10 {
		n, err := c.Conn.Read(p)
		c.read += n
		return n, err
	}
	select {
	case <-time.After(time.Second):
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	}
	return c.Conn.Read(p[:1])
}

// latency is a follower that knows when values were written.
type latency struct {
	follower
	mu    sync.Mutex
	wrote map[string]time.Time // guarded by mu
	// large events fill a slow reader's buffers and the kernel's; then small
	// ones do, and the cache's history stays small.
	large atomic.Bool
	bytes atomic.Int64 // written
	took  []time.Duration
}

func (l *latency) run(ctx context.Context, after int64) {
	l.cut = func(e history.Event) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at, ok := l.wrote[e.Value]; ok {
			l.took = append(l.took, time.Since(at))
		}
		return false
	}
	l.follower.run(ctx, after)
}

// write makes events at a steady pace.
func (l *latency) write(ctx context.Context, d door, i, keys int, stop <-chan struct{}) {
	pad := strings.Repeat("x", 32<<10)
	w := newWriter(history.NewRecorder(), 1, keys)
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(8 * time.Millisecond):
		}
		w.n++
		pad := pad
		if !l.large.Load() {
			pad = ""
		}
		key := fmt.Sprintf("p%d-%d", i, w.n%keys)
		value := fmt.Sprintf("%s-%d-%d-%d", pad, i, w.n, w.n%10)
		o := history.Op{Verb: history.Create, Key: key, Value: value}
		if v, ok := w.seen[key]; ok {
			o.Verb, o.Expect, o.Base = history.Update, v.Value, v.Revision
		}
		w.learn(ctx, d, w.op(ctx, d, o))
		l.bytes.Add(int64(len(value)))
		l.mu.Lock()
		l.wrote[value] = time.Now()
		l.mu.Unlock()
	}
}

// TestTerminate is F40: on SIGTERM the server answers what it has taken, and
// ends watches cleanly.
func TestTerminate(t *testing.T) {
	const keys = 20
	e := startEtcd(t)
	s := over(t, "http://"+e.host)
	prepare(t, s)
	rec := history.NewRecorder()
	for range rounds(2) {
		r, g := restDoor(t, s), rpcDoor(t, s)
		begin := list(t, rec, r)
		stop := make(chan struct{})
		wait := traffic(t.Context(), rec, seeded(t), 32, keys, []door{r, g}, stop)
		ends := make(chan error, 20)
		for i := range cap(ends) {
			go func() { ends <- readOut(t.Context(), []door{r, g}[i%2], begin.Revision) }()
		}
		time.Sleep(400 * time.Millisecond)
		s.Stop(t)
		close(stop)
		wait()
		for range cap(ends) {
			if err := <-ends; err != nil {
				t.Errorf("a watch ended with: %v", err)
			}
		}
		for _, o := range rec.Ops() {
			if o.Outcome == history.Unknown && o.Code == 0 {
				t.Errorf("not answered: %v", o)
			}
		}
		s.Run(t)
		settle(t, rec, restDoor(t, s), keys)
	}
}

// readOut reads a watch to its end, which must be one the server meant.
func readOut(ctx context.Context, d door, after int64) error {
	s, err := d.watch(ctx, "", after)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		_, err := s.next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), strings.Contains(err.Error(), "shutting down"):
			return nil
		default:
			return err
		}
	}
}
