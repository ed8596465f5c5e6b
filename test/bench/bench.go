package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run: an etcd, the two servers on prefixes of it, and tables.
type bench struct {
	options
	dir    string
	ca     *authority
	admin  *tls.Config // system:masters
	user   *tls.Config // who may do to pods what RBAC says
	etcd   *process
	ours   *process
	peer   *process
	tables []*table
	prof   *profiler
}

const (
	ourPrefix  = "/xebec"
	peerPrefix = "/peer"
)

func newBench(o options, dir string) (*bench, error) {
	ca, err := newAuthority(dir)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir, ca: ca}
	if b.admin, err = ca.client("admin", "system:masters"); err != nil {
		return nil, err
	}
	b.prof = &profiler{dir: o.profiles, admin: b.admin}
	b.user, err = ca.client("loader", "loaders")
	return b, err
}

func (b *bench) wants(part string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), part)
}

// span is a full duration, or the quick one.
func (b *bench) span(full, quick time.Duration) time.Duration {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) binary(name string) string { return filepath.Join(b.root, "bin", name) }

func (b *bench) stop() {
	for _, p := range []*process{b.ours, b.peer, b.etcd} {
		p.kill()
	}
	b.ours, b.peer, b.etcd = nil, nil, nil
}

func (b *bench) startEtcd() error {
	port, peers := freePort(), freePort()
	url, peerURL := fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", peers)
	data := filepath.Join(b.dir, fmt.Sprintf("etcd-%d", port))
	p, err := spawn("etcd", b.binary("etcd"), port, "--name=bench", "--data-dir="+data, "--log-level=error",
		"--listen-client-urls="+url, "--advertise-client-urls="+url, "--listen-peer-urls="+peerURL,
		"--initial-advertise-peer-urls="+peerURL, "--initial-cluster=bench="+peerURL,
		"--quota-backend-bytes=8589934592", "--watch-progress-notify-interval=5s")
	if err != nil {
		return err
	}
	b.etcd = p
	return p.ready(nil, "/readyz")
}

func (b *bench) args(prefix string, port int) []string {
	return []string{
		"--etcd-servers=http://" + b.etcd.address(), "--etcd-prefix=" + prefix, fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + b.ca.path("server.crt"), "--tls-private-key-file=" + b.ca.path("server.key"),
		"--client-ca-file=" + b.ca.path("ca.crt"),
	}
}

// startOurs also says how long it took to be ready.
func (b *bench) startOurs() (time.Duration, error) {
	port, at := freePort(), time.Now()
	p, err := spawn("kube-apiserver", b.binary("kube-apiserver"), port, append(b.args(ourPrefix, port), "--bind-address=127.0.0.1")...)
	if err != nil {
		return 0, err
	}
	b.ours = p
	return b.wait(p, at)
}

func (b *bench) startPeer() (time.Duration, error) {
	port, at := freePort(), time.Now()
	p, err := spawn("peer-apiserver", b.binary("peer-apiserver"), port, b.args(peerPrefix, port)...)
	if err != nil {
		return 0, err
	}
	b.peer = p
	return b.wait(p, at)
}

// wait until a server says it is ready and lists pods from its cache: the peer
// answers 429 while the cache is being filled, though it is "ready".
func (b *bench) wait(p *process, since time.Time) (time.Duration, error) {
	if err := p.ready(b.admin, "/readyz"); err != nil {
		return 0, err
	}
	err := p.ready(b.admin, "/api/v1/namespaces/"+namespace+"/pods?fieldSelector=metadata.name%3Dnone")
	return time.Since(since), err
}

// prepare makes what a kube-apiserver wants before pods: the namespace, its
// service account, and the rights of the user. The peer has none of these.
func (b *bench) prepare() error {
	c, err := dial(b.ours.address(), b.admin)
	if err != nil {
		return err
	}
	defer c.close()
	for _, o := range []struct{ path, body string }{
		{"/api/v1/namespaces", `{"metadata":{"name":"bench"}}`},
		{"/api/v1/namespaces/bench/serviceaccounts", `{"metadata":{"name":"default"}}`},
		{"/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"loader"},"rules":[{"apiGroups":[""],"resources":["pods","pods/status"],"verbs":["get","list","watch","create","update","patch","delete"]}]}`},
		{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"metadata":{"name":"loaders"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"loader"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"loaders"}]}`},
	} {
		var answer []byte
		s, err := c.do(request{method: "POST", path: o.path, body: []byte(o.body), header: []string{"content-type", jsonType}, onData: func(d []byte) { answer = append(answer, d...) }})
		if err != nil {
			return err
		}
		if s.status != 201 && s.status != 409 {
			return fmt.Errorf("POST %s: %s", o.path, answer)
		}
	}
	return b.allowed(c)
}

// allowed waits until the user's new rights are in force.
func (b *bench) allowed(admin *conn) error {
	review, err := json.Marshal(map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
		"spec": map[string]any{"user": "loader", "groups": []string{"loaders"}, "resourceAttributes": map[string]string{"namespace": namespace, "verb": "create", "resource": "pods"}},
	})
	if err != nil {
		return err
	}
	for range 200 {
		var answer []byte
		_, err := admin.do(request{method: "POST", path: "/apis/authorization.k8s.io/v1/subjectaccessreviews", body: review, header: []string{"content-type", jsonType}, onData: func(d []byte) { answer = append(answer, d...) }})
		if err != nil {
			return err
		}
		if strings.Contains(string(answer), `"allowed":true`) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the user's rights do not come into force")
}

// pair measures both servers, one after the other.
func (b *bench) pair(measure func(p *process) (*result, error)) (ours, peer *result, err error) {
	if ours, err = measure(b.ours); err != nil {
		return nil, nil, fmt.Errorf("kube-apiserver: %w\n%s", err, tail(b.ours.log.String()))
	}
	if peer, err = measure(b.peer); err != nil {
		return nil, nil, fmt.Errorf("peer: %w\n%s", err, tail(b.peer.log.String()))
	}
	return ours, peer, nil
}

// all runs the parts in an order that needs each data set once.
func (b *bench) all(ctx context.Context) error {
	if err := b.startEtcd(); err != nil {
		return err
	}
	starts := &table{title: "Start and memory", head: []string{"pods", "ready, ms: Xebec", "peer", "ratio", "RSS, MB: Xebec", "peer", "ratio"}}
	b.tables = append(b.tables, starts)
	if err := b.startBoth(starts, 0); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func() error
	}{{"get", b.gets}, {"create", b.creates}, {"watch", b.watches}} {
		if !b.wants(part.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, part.name)
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if !b.wants("list") && !b.wants("start") {
		return nil
	}
	return b.large(ctx, starts)
}

// large is what needs many pods in etcd: lists, and starting with them.
func (b *bench) large(ctx context.Context, starts *table) error {
	b.stop()
	if err := b.startEtcd(); err != nil {
		return err
	}
	lists := &table{title: "Lists of pods of 3 KB", head: []string{"pods", "form", "at once", "MB each", "CPU, ms each: Xebec", "peer", "ratio", "latency p50, ms: Xebec", "peer", "peak RSS, MB: Xebec", "peer"}}
	b.tables = append(b.tables, lists)
	sizes := []int{10000, 50000}
	if b.quick {
		sizes = sizes[:1]
	}
	have := 0
	for _, n := range sizes {
		fmt.Fprintf(os.Stderr, "%d pods\n", n)
		if err := seed(b.etcd.address(), []string{ourPrefix, peerPrefix}, have, n); err != nil {
			return err
		}
		have = n
		if err := b.startBoth(starts, n); err != nil {
			return err
		}
		if b.wants("list") {
			if err := b.lists(lists, n); err != nil {
				return fmt.Errorf("list: %w", err)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// startBoth leaves both running, freshly started.
func (b *bench) startBoth(t *table, pods int) error {
	rounds := 1
	if b.wants("start") {
		rounds = 3
	}
	type sample struct {
		took time.Duration
		rss  int64
	}
	measure := func(p **process, start func() (time.Duration, error)) (sample, error) {
		var all []sample
		for range rounds {
			(*p).kill()
			*p = nil
			took, err := start()
			if err != nil {
				return sample{}, err
			}
			if b.wants("start") {
				time.Sleep(b.span(3*time.Second, time.Second)) // the collector has had its turn
			}
			all = append(all, sample{took, (*p).rss()})
		}
		slices.SortFunc(all, func(x, y sample) int { return int(x.took - y.took) })
		return all[len(all)/2], nil
	}
	ours, err := measure(&b.ours, b.startOurs)
	if err != nil {
		return err
	}
	peer, err := measure(&b.peer, b.startPeer)
	if err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	if !b.wants("start") {
		return nil
	}
	ready, rss := ms(ours.took), mb(ours.rss)
	goals := [2]float64{}
	switch {
	case pods == 0:
		ready, rss = limit(float64(ours.took)/1e6, 300, "%.0f"), limit(float64(ours.rss)/(1<<20), 45, "%.0f")
	case pods >= 50000:
		goals = [2]float64{1.0 / 4, 1.0 / 3}
	}
	t.add(fmt.Sprint(pods), ready, ms(peer.took), ratio(float64(ours.took), float64(peer.took), goals[0]),
		rss, mb(peer.rss), ratio(float64(ours.rss), float64(peer.rss), goals[1]))
	return nil
}
