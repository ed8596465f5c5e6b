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
			if n != 16 || form.query != "" || form.accept != protobuf {
				continue
			}
			b.prof.watch(b.ours, "get-grpc", d)
			if ours, err = closedLoop(b.ours, b.overGRPC(), n, d, 0, getOverGRPC(podName('s', 7))); err != nil {
				return fmt.Errorf("gRPC: %w", err)
			}
			t.pair("gRPC (peer: protobuf)", n, ours, peer, 0)
		}
	}
	return nil
}

// storedAsCreated is what kube-apiserver stores for the pods of the measurement.
func (b *bench) storedAsCreated() (template, error) {
	c, err := dial(b.ours.address(), b.user)
	if err != nil {
		return nil, err
	}
	defer c.close()
	n := int(sequence.Add(1))
	if _, err := post(newPodProtobuf(), protobuf)(c, n); err != nil {
		return nil, err
	}
	value, _, err := read(b.etcd.address(), ourPrefix+"/pods/"+namespace+"/"+podName('c', n))
	if err == nil && len(value) == 0 {
		err = fmt.Errorf("%s is not in etcd", podName('c', n))
	}
	return templateOf(value, 'c', n), err
}

// creates also runs etcd alone: what no server can exceed.
func (b *bench) creates() error {
	t := requestTable("Create of a pod (Xebec: with defaulting, validation, admission and RBAC; peer: without)")
	floor := &table{title: "Raw etcd, create-if-absent of the values that Xebec's creates store", head: []string{"clients", "per second", "p50 / p99, ms", "Xebec creates, of these", "peer creates, of these"}}
	b.tables = append(b.tables, t, floor)
	d := b.span(4*time.Second, 1500*time.Millisecond)
	stored, err := b.storedAsCreated()
	if err != nil {
		return err
	}
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
			if err := b.createsOverGRPC(t, n, d, peer); err != nil {
				return fmt.Errorf("gRPC: %w", err)
			}
		}
	}
	return nil
}

// createsOverGRPC adds the rows of Xebec's own protocol: a call for each pod,
// and one stream of them.
func (b *bench) createsOverGRPC(t *table, n int, d time.Duration, peer *result) error {
	if n == 1 {
		return nil
	}
	if n == 16 {
		b.prof.watch(b.ours, "create-grpc", d)
		ours, err := closedLoop(b.ours, b.overGRPC(), n, d, 0, createOverGRPC())
		if err != nil {
			return err
		}
		t.pair("gRPC (peer: protobuf)", n, ours, peer, 0)
		return nil
	}
	for _, inFlight := range []int{n, 512} {
		b.prof.watch(b.ours, "mutate", d)
		ours, err := mutate(b.ours, b.overGRPC(), inFlight, d)
		if err != nil {
			return err
		}
		t.pair(fmt.Sprintf("gRPC, one Mutate stream, %d under way (peer: %d clients, protobuf)", inFlight, n), 1, ours, peer, 0)
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
			if form.accept != protobuf {
				continue
			}
			b.ours.resetPeak()
			if ours, err = closedLoop(b.ours, b.overGRPC(), at, 0, rounds, listOverGRPC()); err != nil {
				return fmt.Errorf("gRPC: %w", err)
			}
			t.add(fmt.Sprint(pods), "gRPC (peer: protobuf)", fmt.Sprint(at), mb(ours.bytes/int64(ours.ops)), ms(ours.each()), ms(peer.each()),
				ratio(float64(ours.each()), float64(peer.each()), 0), ms(ours.percentile(0.5)), ms(peer.percentile(0.5)), mb(b.ours.peak()), peaks[1])
			fmt.Fprintf(os.Stderr, "  %s\n", strings.Join(t.rows[len(t.rows)-1], " | "))
		}
	}
	return nil
}
