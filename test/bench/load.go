package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// result is one measurement of one server.
type result struct {
	ops     int
	elapsed time.Duration
	cpu     time.Duration // of the server
	lat     []time.Duration
	bytes   int64
}

func (r *result) rate() float64 { return float64(r.ops) / r.elapsed.Seconds() }

// each is the server's processor time per operation.
func (r *result) each() time.Duration {
	if r.ops == 0 {
		return 0
	}
	return r.cpu / time.Duration(r.ops)
}

func (r *result) percentile(p float64) time.Duration {
	if len(r.lat) == 0 {
		return 0
	}
	return r.lat[min(len(r.lat)-1, int(float64(len(r.lat))*p))]
}

// pool is connections shared by workers.
type pool []*conn

func dialAll(n int, address string, config *tls.Config) (pool, error) {
	p := make(pool, n)
	for i := range p {
		c, err := dial(address, config)
		if err != nil {
			p[:i].close()
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		}
		p[i] = c
	}
	return p, nil
}

func (p pool) close() {
	for _, c := range p {
		c.close()
	}
}

// closedLoop runs op in workers until time is up or, with rounds, each worker
// has done that many. Every fourth worker shares a connection.
func closedLoop(server *process, config *tls.Config, workers int, d time.Duration, rounds int, op func(c *conn, n int) (int64, error)) (*result, error) {
	conns, err := dialAll((workers+3)/4, server.address(), config)
	if err != nil {
		return nil, err
	}
	defer conns.close()
	if rounds == 0 { // connections, caches and the collector settle first
		warm := time.Now().Add(d / 8)
		if _, err := loop(conns, workers, func(i int) bool { return time.Now().Before(warm) }, op); err != nil {
			return nil, err
		}
	}
	before, start := server.cpu(), time.Now()
	r, err := loop(conns, workers, func(i int) bool {
		if rounds > 0 {
			return i < rounds
		}
		return time.Since(start) < d
	}, op)
	if err != nil {
		return nil, err
	}
	r.elapsed = time.Since(start)
	r.cpu = server.cpu() - before
	return r, nil
}

var sequence atomic.Int64 // numbers operations over the whole run: names are used once

func loop(conns pool, workers int, more func(i int) bool, op func(c *conn, n int) (int64, error)) (*result, error) {
	r := &result{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for w := range workers {
		wg.Go(func() {
			var lat []time.Duration
			var bytes int64
			var err error
			for i := 0; err == nil && more(i); i++ {
				at := time.Now()
				var n int64
				n, err = op(conns[w%len(conns)], int(sequence.Add(1)))
				lat = append(lat, time.Since(at))
				bytes += n
			}
			mu.Lock()
			defer mu.Unlock()
			r.lat = append(r.lat, lat...)
			r.bytes += bytes
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	r.ops = len(r.lat)
	slices.Sort(r.lat)
	return r, nil
}

// fetch is a GET whose body is thrown away.
func fetch(path, accept string) func(c *conn, n int) (int64, error) {
	header := []string{"accept", accept, "user-agent", "bench/1"}
	return func(c *conn, _ int) (int64, error) {
		s, err := c.do(request{method: "GET", path: path, header: header})
		if err != nil {
			return 0, err
		}
		if s.status != 200 {
			return 0, fmt.Errorf("GET %s: HTTP %d", path, s.status)
		}
		return s.bytes, nil
	}
}

// post creates pods.
func post(pods template, contentType string) func(c *conn, n int) (int64, error) {
	header := []string{"accept", contentType, "content-type", contentType, "user-agent", "bench/1"}
	return func(c *conn, n int) (int64, error) {
		return postPod(c, header, pods.pod('c', n))
	}
}

func postPod(c *conn, header []string, body []byte) (int64, error) {
	r := request{method: "POST", path: "/api/v1/namespaces/" + namespace + "/pods", header: header, body: body}
	var answer []byte
	r.onData = func(b []byte) {
		if len(answer) < 400 {
			answer = append(answer, b[:min(len(b), 400)]...)
		}
	}
	s, err := c.do(r)
	if err != nil {
		return 0, err
	}
	if s.status != 201 {
		return 0, fmt.Errorf("create: HTTP %d %s", s.status, answer)
	}
	return s.bytes, nil
}
