package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// watches writes to etcd itself, so that a server's work is the delivery; and
// then through the server, at a rate that must not cost a watcher its stream.
func (b *bench) watches() error {
	t := &table{title: "Watch: pods of 3 KB, written to etcd", head: []string{"form", "watchers", "writes/s", "CPU, µs per event delivered: Xebec", "peer", "ratio", "lag p50 / p99 / max, ms: Xebec", "peer", "lost or closed: Xebec", "peer"}}
	hold := &table{title: "Watch: created through the server, 1000 watchers at 200 writes/s", head: []string{"server", "writes/s reached", "events delivered", "CPU, s", "CPU, µs per event", "ratio", "lag p50 / p99 / max, ms", "later than 1 s", "watches closed", fmt.Sprintf("events missing %.0f s after the last write", patience.Seconds())}}
	b.tables = append(b.tables, t, hold)
	var hundred *watched // the peer's, with 100 watchers
	for _, w := range []struct {
		form    string
		n, rate int
		goal    float64
	}{{"protobuf", 1, 500, 0}, {"protobuf", 100, 200, 1.0 / 4}, {"JSON", 100, 200, 0}, {"protobuf", 1000, 20, 1.0 / 4}} {
		ours, err := b.watchEtcd(b.ours, ourPrefix, w.form, w.n, w.rate)
		if err != nil {
			return err
		}
		peer, err := b.watchEtcd(b.peer, peerPrefix, w.form, w.n, w.rate)
		if err != nil {
			return err
		}
		t.watches(w.form, w.n, w.rate, ours, peer, w.goal)
		if w.form == "protobuf" && w.n == 100 {
			hundred = peer
		}
	}
	ours, err := b.watchEtcd(b.ours, ourPrefix, "gRPC", 100, 200)
	if err != nil {
		return fmt.Errorf("gRPC: %w", err)
	}
	t.watches("gRPC: subscriptions of one stream (peer: protobuf)", 100, 200, ours, hundred, 0)
	return b.hold(hold)
}

func (b *bench) watchEtcd(p *process, prefix, form string, n, rate int) (*watched, error) {
	c, err := dial(b.etcd.address(), nil)
	if err != nil {
		return nil, err
	}
	defer c.close()
	at, err := revision(b.etcd.address())
	if err != nil {
		return nil, err
	}
	config, stored := b.user, storedPod()
	if form == "gRPC" {
		config = b.overGRPC()
	}
	d := b.span(4*time.Second, 2*time.Second)
	b.prof.watch(p, fmt.Sprintf("watch-%s-%d", form, n), d)
	o := fanOut{server: p, config: config, form: form, revision: at, n: n, rate: rate, d: d, writers: []func(i int) error{func(i int) error {
		return put(c, prefix+"/pods/"+namespace+"/"+podName('w', i%100), stored.pod('w', i%100))
	}}}
	return o.run()
}

func (t *table) watches(form string, n, rate int, ours, peer *watched, goal float64) {
	t.add(form, fmt.Sprint(n), fmt.Sprint(rate), fmt.Sprintf("%.1f", float64(ours.each())/1e3), fmt.Sprintf("%.1f", float64(peer.each())/1e3),
		ratio(float64(ours.each()), float64(peer.each()), goal), lags(ours), lags(peer), fate(ours), fate(peer))
	fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
}

func lags(w *watched) string {
	return ms(w.percentile(0.5)) + " / " + ms(w.percentile(0.99)) + " / " + ms(w.percentile(1))
}

func fate(w *watched) string { return fmt.Sprintf("%d / %d", w.missing, w.closed) }

// holdWriters each wait for one create at a time: together they keep the rate
// as long as a create takes less than their number divided by it.
const holdWriters = 32

func (b *bench) hold(t *table) error {
	d := b.span(5*time.Second, 2*time.Second)
	var all [2]*watched
	for i, p := range []*process{b.ours, b.peer} {
		w, err := b.holdOne(p, d)
		if err != nil {
			return fmt.Errorf("1000 watchers of %s: %w", p.name, err)
		}
		all[i] = w
	}
	for i, w := range all {
		name, relation := "Xebec", ratio(float64(w.each()), float64(all[1].each()), 0)
		if i == 1 {
			name, relation = "peer", "1"
		}
		t.add(name, fmt.Sprintf("%.0f", w.writes), fmt.Sprint(w.ops), fmt.Sprintf("%.1f", w.cpu.Seconds()), fmt.Sprintf("%.1f", float64(w.each())/1e3), relation,
			lags(w), fmt.Sprint(w.lagging), fmt.Sprint(w.closed), fmt.Sprint(w.missing))
		fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
	}
	return nil
}

func (b *bench) holdOne(p *process, d time.Duration) (*watched, error) {
	conns, err := dialAll(holdWriters, p.address(), b.user)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	at, err := revision(b.etcd.address())
	if err != nil {
		return nil, err
	}
	pods := newPodProtobuf()
	header := []string{"accept", protobuf, "content-type", protobuf, "user-agent", "bench/1"}
	var writers []func(i int) error
	for _, c := range conns {
		writers = append(writers, func(i int) error {
			_, err := postPod(c, header, pods.pod(heldName[len(heldName)-1], i))
			return err
		})
	}
	b.prof.watch(p, "hold", d)
	o := fanOut{server: p, config: b.user, form: "protobuf", revision: at, n: 1000, rate: 200, d: d, writers: writers}
	return o.run()
}
