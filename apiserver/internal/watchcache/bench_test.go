package watchcache_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/storage/value"
	"xebec.dev/apiserver/internal/watchcache"
)

var heapProfile = flag.String("heap", "", "where to write a profile of the heap after loading")
var slots = flag.Int("slots", 0, "transactions under way at a time")
var benchPods = flag.Int("pods", 10000, "pods to load")

// bigPod is about 3 KB, as pods are with their managed fields.
func bigPod(ns, name, node string) []byte {
	var p corev1.Pod
	if err := p.Unmarshal(storagetest.Pod(ns, name, node, corev1.PodRunning)); err != nil {
		panic(err)
	}
	p.Labels = map[string]string{"app": "web", "pod-template-hash": "5d5b6c7f8", "tier": name[len(name)-1:]}
	p.Annotations = map[string]string{"padding": strings.Repeat("x", 2800)}
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func connect(t testing.TB, endpoint string) *etcd.Store {
	s, err := etcd.New(etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill writes pods to etcd, many in one transaction.
func fill(t testing.TB, s kv.Store, n int) {
	codec := value.NewCodec(storagetest.Pods, nil)
	var writes []kv.Write
	for i := range n {
		ns, name := fmt.Sprintf("ns%03d", i%100), fmt.Sprintf("pod-%06d", i)
		v, err := codec.Seal(bigPod(ns, name, fmt.Sprintf("node-%04d", i%1000)), "")
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, kv.Write{Key: "pods/" + ns + "/" + name, Value: v, Compare: kv.Anything})
		if len(writes) == 20 || i == n-1 {
			if _, _, err := s.Apply(context.Background(), writes); err != nil {
				t.Fatal(err)
			}
			writes = writes[:0]
		}
	}
}

func rss() int {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// BenchmarkLoad loads from an etcd in another process.
func BenchmarkLoad(b *testing.B) {
	p := startProcess(b, b.TempDir())
	s := connect(b, p.endpoint)
	fill(b, s, *benchPods)
	gc, stop := context.WithCancel(context.Background())
	defer stop()
	go watchcache.AdaptGC(gc)
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		debug.FreeOSMemory()
		before := rss()
		b.StartTimer()
		ctx, cancel := context.WithCancel(context.Background())
		c := watchcache.New(s, builtin.Scheme().Resources(), watchcache.Options{})
		go c.Run(ctx)
		for deadline := time.Now().Add(20 * time.Second); c.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatal(c.Ready(ctx))
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(rss())/1e6, "peak-MB")
		time.Sleep(time.Second)
		b.ReportMetric(float64(rss())/1e6, "RSS-MB")
		b.ReportMetric(float64(rss()-before)/1e6, "more-MB")
		profile(b)
		runtime.KeepAlive(c)
		cancel()
		b.StartTimer()
	}
}

// BenchmarkEmbedded is the memory of a cache and its etcd in one process, some
// time after the start.
func BenchmarkEmbedded(b *testing.B) {
	dir := b.TempDir()
	p := startProcess(b, dir)
	fill(b, connect(b, p.endpoint), *benchPods)
	p.kill()
	gc, stop := context.WithCancel(context.Background())
	defer stop()
	go watchcache.AdaptGC(gc)
	for b.Loop() {
		began := time.Now()
		server, err := embedded.Start(dir, embedded.Options{})
		if err != nil {
			b.Fatal(err)
		}
		started := time.Since(began)
		c := open(b, etcd.Over(server.Services(), etcd.Config{}))
		b.ReportMetric(float64(started.Milliseconds()), "etcd-ms")
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ready-ms")
		b.ReportMetric(float64(rss())/1e6, "peak-MB")
		time.Sleep(30 * time.Second)
		b.ReportMetric(float64(rss())/1e6, "RSS-MB")
		profile(b)
		runtime.KeepAlive(c)
		server.Close()
	}
}

// BenchmarkSteady measures the memory while pods are updated and watched.
func BenchmarkSteady(b *testing.B) {
	p := startProcess(b, b.TempDir())
	s := connect(b, p.endpoint)
	fill(b, s, *benchPods)
	gc, stop := context.WithCancel(context.Background())
	defer stop()
	go watchcache.AdaptGC(gc)
	c := open(b, s).Collection(storagetest.Pods)
	for b.Loop() {
		began := time.Now()
		peak := 0
		for i := 0; time.Since(began) < 20*time.Second; i++ {
			time.Sleep(time.Until(began.Add(time.Duration(i) * 10 * time.Millisecond)))
			n := i * 7919 % *benchPods
			ns, name := fmt.Sprintf("ns%03d", n%100), fmt.Sprintf("pod-%06d", n)
			if _, err := c.Update(gc, c.Newest(ns, name), bigPod(ns, name, "node"), 0); err != nil {
				b.Fatal(err)
			}
			if i%100 == 0 {
				peak = max(peak, rss())
				if i%500 == 0 {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					b.Logf("%2ds RSS %d MB, heap %d live-ish, %d idle %d released, sys %d, %d collections", i/100, rss()>>20, m.HeapAlloc>>20, m.HeapIdle>>20, m.HeapReleased>>20, m.Sys>>20, m.NumGC)
				}
			}
		}
		b.ReportMetric(float64(peak)/1e6, "peak-MB")
		b.ReportMetric(float64(rss())/1e6, "RSS-MB")
	}
}

func profile(b *testing.B) {
	if *heapProfile == "" {
		return
	}
	f, err := os.Create(*heapProfile)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	runtime.GC()
	pprof.WriteHeapProfile(f)
}

// loaded is a cache over pods in an etcd within the process.
func loaded(b *testing.B, n int) storage.Collection {
	server := startEtcd(b)
	s := etcd.Over(server.Services(), etcd.Config{})
	fill(b, s, n)
	return open(b, s).Collection(storagetest.Pods)
}

func BenchmarkGet(b *testing.B) {
	c := loaded(b, *benchPods)
	for _, m := range []storage.Match{storage.Any, storage.Fresh} {
		b.Run([]string{"fresh", "any"}[m], func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					n := i % *benchPods
					_, err := c.Get(context.Background(), fmt.Sprintf("ns%03d", n%100), fmt.Sprintf("pod-%06d", n), m, 0)
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkList(b *testing.B) {
	c := loaded(b, *benchPods)
	for _, test := range []struct {
		name string
		o    storage.ListOptions
	}{
		{"all", storage.ListOptions{}},
		{"namespace", storage.ListOptions{Selection: storage.Selection{Namespace: "ns007"}}},
		{"node", storage.ListOptions{Selection: storage.Selection{Fields: []storage.FieldRequirement{{Index: storagetest.FieldNode, Value: "node-0007"}}}}},
		{"label", storage.ListOptions{Selection: storage.Selection{Labels: parse("tier=3")}}},
		{"page500", storage.ListOptions{Limit: 500}},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l, err := c.List(context.Background(), test.o)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(l.Objects)), "objects")
			}
		})
	}
}

// BenchmarkCreate compares creates through the store with bare transactions
// of etcd, over a socket.
func BenchmarkCreate(b *testing.B) {
	p := startProcess(b, b.TempDir())
	s := connect(b, p.endpoint)
	c := openWith(b, s, watchcache.Options{Batch: kv.BatcherOptions{Slots: *slots}}).Collection(storagetest.ConfigMaps)
	data := strings.Repeat("x", 900)
	var seq atomic.Int64
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("store/%d", clients), func(b *testing.B) {
			concurrently(b, clients, func() error {
				name := fmt.Sprintf("c%d", seq.Add(1))
				_, err := c.Create(context.Background(), "ns", name, storagetest.ConfigMap("ns", name, data, nil), 0)
				return err
			})
		})
		b.Run(fmt.Sprintf("etcd/%d", clients), func(b *testing.B) {
			v := []byte(strings.Repeat("x", 1000))
			concurrently(b, clients, func() error {
				_, _, err := s.Apply(context.Background(), []kv.Write{{Key: fmt.Sprintf("raw/%d", seq.Add(1)), Value: v}})
				return err
			})
		})
	}
}

// concurrently runs b.N calls from several clients and reports latencies.
func concurrently(b *testing.B, clients int, call func() error) {
	latencies := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				began := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				latencies[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	report(b, latencies)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func report(b *testing.B, latencies []time.Duration) {
	slices.Sort(latencies)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(latencies[(len(latencies)-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

// BenchmarkFanout measures from the acknowledged write to the watcher, with
// 1000 watchers and 200 writes a second.
func BenchmarkFanout(b *testing.B) {
	for _, test := range []struct {
		name string
		sel  func(i int) storage.Selection
	}{
		{"all", func(int) storage.Selection { return storage.Selection{} }},
		{"label", func(int) storage.Selection { return storage.Selection{Labels: parse("app=web")} }},
		{"node", func(i int) storage.Selection {
			return storage.Selection{Fields: []storage.FieldRequirement{{Index: storagetest.FieldNode, Value: fmt.Sprintf("node-%d", i)}}}
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			p := startProcess(b, b.TempDir())
			c := open(b, connect(b, p.endpoint)).Collection(storagetest.Pods)
			fanout(b, c, test.sel)
		})
	}
}

func fanout(b *testing.B, c storage.Collection, sel func(int) storage.Selection) {
	const watchers = 1000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var latencies []time.Duration
	var wg sync.WaitGroup
	var delivered atomic.Int64
	written := sync.Map{}
	for i := range watchers {
		w, err := c.Watch(ctx, storage.WatchOptions{Selection: sel(i), InitialEvents: true})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer w.Close()
			var mine []time.Duration
			for {
				events, err := w.Next(ctx)
				now := time.Now()
				if err != nil {
					mu.Lock()
					latencies = append(latencies, mine...)
					mu.Unlock()
					return
				}
				for _, e := range events {
					if e.Object == nil {
						continue
					}
					delivered.Add(1)
					if t, ok := written.Load(e.Revision); ok {
						mine = append(mine, now.Sub(t.(time.Time)))
					} else {
						mine = append(mine, 0) // before the answer
					}
				}
			}
		})
	}
	var before, after syscallTimes
	before.read()
	began := time.Now()
	writes := max(b.N, 400)
	for i := range writes {
		time.Sleep(time.Until(began.Add(time.Duration(i) * 5 * time.Millisecond)))
		name := fmt.Sprintf("p-%d", i)
		o, err := c.Create(ctx, "a", name, bigPod("a", name, fmt.Sprintf("node-%d", i%watchers)), 0)
		if err != nil {
			b.Fatal(err)
		}
		written.Store(o.Revision, time.Now())
	}
	time.Sleep(200 * time.Millisecond)
	after.read()
	cancel()
	wg.Wait()
	report(b, latencies)
	b.ReportMetric(float64(delivered.Load())/float64(writes), "events/write")
	b.ReportMetric((after.cpu-before.cpu).Seconds()/time.Since(began).Seconds()*100, "cpu-%")
}
