package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

var clients = []int{1, 16, 64}

func requestTable(title string) *table {
	return &table{title: title, head: []string{"", "clients", "CPU, µs each: Xebec", "peer", "ratio", "per second: Xebec", "peer", "p50 / p99, ms: Xebec", "peer"}}
}

func (t *table) pair(what string, clients int, ours, peer *result, goal float64) {
	t.add(what, fmt.Sprint(clients), micros(ours.each()), micros(peer.each()), ratio(float64(ours.each()), float64(peer.each()), goal),
		fmt.Sprintf("%.0f", ours.rate()), fmt.Sprintf("%.0f", peer.rate()), tails(ours), tails(peer))
	fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
}

func tails(r *result) string { return ms(r.percentile(0.5)) + " / " + ms(r.percentile(0.99)) }

// gets reads one pod, as fresh as etcd and from the cache.
func (b *bench) gets() error {
	t := requestTable("GET of a pod")
	b.tables = append(b.tables, t)
	d := b.span(4*time.Second, 1500*time.Millisecond)
	if err := seed(b.etcd.address(), []string{ourPrefix, peerPrefix}, 0, 100); err != nil {
		return err
	}
	path := "/api/v1/namespaces/" + namespace + "/pods/" + podName('s', 7)
	for _, n := range clients {
		for _, form := range []struct{ name, query, accept string }{{"protobuf", "", protobuf}, {"JSON", "", jsonType}, {"protobuf, resourceVersion=0", "?resourceVersion=0", protobuf}} {
			if n != 16 && form.name != "protobuf" {
				continue
			}
			ours, peer, err := b.pair(func(p *process) (*result, error) {
				b.prof.watch(p, fmt.Sprintf("get-%d", n), d)
				return closedLoop(p, b.user, n, d, 0, fetch(path+form.query, form.accept))
			})
			if err != nil {
				return err
			}
			t.pair(form.name, n, ours, peer, 1.0/4)
		}
	}
	return nil
}

// creates also runs etcd alone: what no server can exceed.
func (b *bench) creates() error {
	t := requestTable("Create of a pod (Xebec: with defaulting, validation, admission and RBAC; peer: without)")
	floor := &table{title: "Raw etcd, create-if-absent of the same bytes", head: []string{"clients", "per second", "p50 / p99, ms", "Xebec creates, of these", "peer creates, of these"}}
	b.tables = append(b.tables, t, floor)
	d := b.span(4*time.Second, 1500*time.Millisecond)
	stored := storedPod()
	for _, n := range clients {
		raw, err := closedLoop(b.etcd, nil, n, d, 0, func(c *conn, i int) (int64, error) {
			return 0, create(c, "/raw/pods/"+namespace+"/"+podName('r', i), stored.pod('r', i))
		})
		if err != nil {
			return fmt.Errorf("raw etcd: %w", err)
		}
		for _, form := range []struct {
			name, accept string
			pods         template
		}{{"protobuf", protobuf, newPodProtobuf()}, {"JSON", jsonType, newPodJSON()}} {
			if form.accept == jsonType && n == 1 {
				continue
			}
			ours, peer, err := b.pair(func(p *process) (*result, error) {
				b.prof.watch(p, fmt.Sprintf("create-%d", n), d)
				return closedLoop(p, b.user, n, d, 0, post(form.pods, form.accept))
			})
			if err != nil {
				return err
			}
			t.pair(form.name, n, ours, peer, 1.0/3)
			if form.accept != protobuf {
				continue
			}
			share := fmt.Sprintf("%.0f %%", 100*ours.rate()/raw.rate())
			if n == 64 {
				if ours.rate() >= 0.6*raw.rate() {
					share += " (goal 60 %)"
				} else {
					share = "**" + share + "** (goal 60 % missed)"
				}
			}
			floor.add(fmt.Sprint(n), fmt.Sprintf("%.0f", raw.rate()), tails(raw), share, fmt.Sprintf("%.0f %%", 100*peer.rate()/raw.rate()))
			fmt.Fprintf(os.Stderr, "  raw: %s\n", strings.Join(floor.rows[len(floor.rows)-1], " | "))
		}
	}
	return nil
}

// watches writes to etcd itself, so that a server's work is the delivery; and
// then through the server, at a rate that must not cost a watcher its stream.
func (b *bench) watches() error {
	t := &table{title: "Watch: pods of 3 KB, written to etcd", head: []string{"watchers", "writes/s", "CPU, µs per event delivered: Xebec", "peer", "ratio", "lag p50 / p99 / max, ms: Xebec", "peer", "lost or closed: Xebec", "peer"}}
	hold := &table{title: "Watch: created through the server, 1000 watchers at 200 writes/s", head: []string{"server", "events/s delivered", "CPU, s", "lag p50 / p99 / max, ms", "later than 1 s", "watches closed", "events missing"}}
	b.tables = append(b.tables, t, hold)
	d := b.span(4*time.Second, 2*time.Second)
	stored := storedPod()
	c, err := dial(b.etcd.address(), nil)
	if err != nil {
		return err
	}
	defer c.close()
	for _, w := range []struct {
		n, rate int
		goal    float64
	}{{1, 500, 0}, {100, 200, 1.0 / 4}, {1000, 20, 1.0 / 4}} {
		measure := func(p *process, prefix string) (*watched, error) {
			at, err := revision(b.etcd.address())
			if err != nil {
				return nil, err
			}
			b.prof.watch(p, fmt.Sprintf("watch-%d", w.n), d)
			return fanOut(p, b.user, at, w.n, w.rate, d, func(i int) error {
				return put(c, prefix+"/pods/"+namespace+"/"+podName('w', i%100), stored.pod('w', i%100))
			})
		}
		ours, err := measure(b.ours, ourPrefix)
		if err != nil {
			return err
		}
		peer, err := measure(b.peer, peerPrefix)
		if err != nil {
			return err
		}
		t.add(fmt.Sprint(w.n), fmt.Sprint(w.rate), fmt.Sprintf("%.1f", float64(ours.each())/1e3), fmt.Sprintf("%.1f", float64(peer.each())/1e3),
			ratio(float64(ours.each()), float64(peer.each()), w.goal), lags(ours), lags(peer), fate(ours), fate(peer))
		fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
	}
	return b.hold(hold)
}

func lags(w *watched) string {
	return ms(w.percentile(0.5)) + " / " + ms(w.percentile(0.99)) + " / " + ms(w.percentile(1))
}

func fate(w *watched) string { return fmt.Sprintf("%d / %d", w.missing, w.closed) }

func (b *bench) hold(t *table) error {
	d := b.span(5*time.Second, 2*time.Second)
	create := post(newPodProtobuf(), protobuf)
	for _, p := range []*process{b.ours, b.peer} {
		c, err := dial(p.address(), b.user)
		if err != nil {
			return err
		}
		at, err := revision(b.etcd.address())
		if err != nil {
			return err
		}
		b.prof.watch(p, "hold", d)
		w, err := fanOut(p, b.user, at, 1000, 200, d, func(int) error {
			_, err := create(c, int(sequence.Add(1)))
			return err
		})
		c.close()
		if err != nil {
			return err
		}
		name := "Xebec"
		if p == b.peer {
			name = "peer"
		}
		t.add(name, fmt.Sprintf("%.0f", w.rate()), fmt.Sprintf("%.1f", w.cpu.Seconds()), lags(w), fmt.Sprint(w.lagging), fmt.Sprint(w.closed), fmt.Sprint(w.missing))
		fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
	}
	return nil
}

func (b *bench) lists(t *table, pods int) error {
	path := "/api/v1/namespaces/" + namespace + "/pods"
	for _, form := range []struct {
		name, accept string
		goal         float64
	}{{"protobuf", protobuf, 1.0 / 4}, {"JSON", jsonType, 1.0 / 6}} {
		for _, at := range []int{1, 10} {
			rounds := 1
			if at == 1 {
				rounds = 3
			}
			if pods <= 10000 {
				rounds *= 3
			}
			goal := form.goal
			if pods != 10000 {
				goal = 0
			}
			var peaks []string
			ours, peer, err := b.pair(func(p *process) (*result, error) {
				p.resetPeak()
				b.prof.watch(p, fmt.Sprintf("list-%s-%d", form.name, at), 2*time.Second)
				r, err := closedLoop(p, b.user, at, 0, rounds, fetch(path, form.accept))
				peaks = append(peaks, mb(p.peak()))
				return r, err
			})
			if err != nil {
				return err
			}
			t.add(fmt.Sprint(pods), form.name, fmt.Sprint(at), mb(ours.bytes/int64(ours.ops)), ms(ours.each()), ms(peer.each()),
				ratio(float64(ours.each()), float64(peer.each()), goal), ms(ours.percentile(0.5)), ms(peer.percentile(0.5)), peaks[0], peaks[1])
			fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
		}
	}
	return nil
}
