package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	streams "xebec.dev/client/stream"
	"xebec.dev/test/clientca"
)

// TestHerd is F34: 500 kubelets lose their server at once and come back at
// once, each with a TLS handshake, a stream of four subscriptions and a lease.
// Nobody's lease gets as old as the grace that a node has, everybody hears of
// what came after, and the server is as large as it was before.
func TestHerd(t *testing.T) {
	const nodes, grace = 500, 50 * time.Second
	e := startEtcd(t)
	s := over(t, "http://"+e.host)
	admin, err := client.Dial(client.Config{Kubeconfig: s.Kubeconfig}, builtin.Scheme(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := client.Create(t.Context(), admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default"}}); err != nil {
		t.Fatal(err)
	}
	ca, err := clientca.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	herd := make([]*member, nodes)
	for i := range herd {
		herd[i] = &member{name: fmt.Sprintf("node-%03d", i), config: client.Config{Server: s.URL, CAFile: filepath.Join(s.Dir, "pki", "ca.crt")}}
		if herd[i].config.CertData, herd[i].config.KeyData, err = ca.Sign("system:node:"+herd[i].name, "system:nodes"); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := herd[i].run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", herd[i].name, err)
			}
		})
	}
	all := func(what string, f func(*member) bool) time.Duration {
		t.Helper()
		return eventually(t, 2*time.Minute, what, func() bool {
			for _, m := range herd {
				if !f(m) {
					return false
				}
			}
			return true
		})
	}
	took := all("every node has its lease", func(m *member) bool { return m.renewed.Load() > 0 })
	t.Logf("%d nodes after %v", nodes, took)
	pods := func(round int) {
		t.Helper()
		g := errgroup.Group{}
		g.SetLimit(32)
		for _, m := range herd {
			g.Go(func() error {
				_, err := client.Create(ctx, admin, &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("%s-%d", m.name, round)},
					Spec:       corev1.PodSpec{NodeName: m.name, Containers: []corev1.Container{{Name: "c", Image: "registry.example/image:1"}}},
				}, client.WriteOptions{OmitObject: true})
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		took := all("every node hears of its pod", func(m *member) bool { return m.heard.Load() == int64(round) })
		t.Logf("every node has its pod %d, %v after the last was made", round, took)
	}
	pods(1)
	rest := restDoor(t, s)
	before := sample(t, s, rest.client)
	for round := 2; round < 4; round++ {
		away := time.Now()
		if round == 2 {
			s.Kill()
		} else {
			s.Stop(t)
		}
		s.Run(t)
		ready := time.Since(away)
		all("every node has its stream again", func(m *member) bool { return m.streams() >= int64(round) })
		streaming := time.Since(away)
		all("every node renews its lease", func(m *member) bool { return m.renewed.Load() > int64(away.Sub(epoch)+ready) })
		t.Logf("ready after %v, every stream asked for after %v, every lease renewed after %v", ready, streaming, time.Since(away))
		eventually(t, time.Minute, "the administrator's client is connected", func() bool {
			_, err := client.Get[*corev1.Namespace](ctx, admin, "", "default")
			return err == nil
		})
		pods(round)
	}
	after := sample(t, s, rest.client)
	oldest := time.Duration(0)
	for _, m := range herd {
		oldest = max(oldest, time.Duration(m.oldest.Load()))
	}
	t.Logf("the oldest lease was %v old; resident %d MiB, then %d MiB", oldest, before.RSS>>20, after.RSS>>20)
	if oldest >= grace {
		t.Errorf("a lease was %v old: the node would have been given up", oldest)
	}
	if after.RSS > 2*before.RSS {
		t.Errorf("%d MiB resident, were %d", after.RSS>>20, before.RSS>>20)
	}
	if strays := after.Sockets - before.Sockets; strays > 20 {
		t.Errorf("%d sockets, were %d", after.Sockets, before.Sockets)
	}
}

// epoch is before everything: times since it are the steady clock's.
var epoch = time.Now()

// member asks of a server what a kubelet without work asks: its pods, its node,
// Services and runtime classes; and it renews its lease every ten seconds.
type member struct {
	name   string
	config client.Config

	mu     sync.Mutex
	stream *streams.Stream // guarded by mu

	renewed atomic.Int64 // when, in nanoseconds since the epoch
	oldest  atomic.Int64 // that the lease has been, in nanoseconds
	heard   atomic.Int64 // pods of this node
}

func (m *member) streams() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream.Connects()
}

func (m *member) run(ctx context.Context) error {
	c, err := client.Dial(m.config, builtin.Scheme(), client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	s := streams.New(c, streams.Options{})
	m.mu.Lock()
	m.stream = s
	m.mu.Unlock()
	pods, err := cache.New(c, s, cache.Options[*corev1.Pod]{Selection: client.Selection{Fields: "spec.nodeName=" + m.name}})
	if err != nil {
		return err
	}
	pods.OnChange(func(cache.Change[*corev1.Pod]) { m.heard.Store(int64(pods.Snapshot().Len())) })
	self, err := cache.New(c, s, cache.Options[*corev1.Node]{Selection: client.Selection{Fields: "metadata.name=" + m.name}})
	if err != nil {
		return err
	}
	services, err := cache.New(c, s, cache.Options[*corev1.Service]{})
	if err != nil {
		return err
	}
	classes, err := cache.New(c, s, cache.Options[*nodev1.RuntimeClass]{})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{s.Run, pods.Run, self.Run, services.Run, classes.Run} {
		g.Go(func() error { return f(ctx) })
	}
	g.Go(func() error { return m.beat(ctx, c) })
	return g.Wait()
}

// beat registers the node and keeps its lease.
func (m *member) beat(ctx context.Context, c *client.Client) error {
	const every, again = 10 * time.Second, 200 * time.Millisecond
	var lease *coordinationv1.Lease
	registered := false
	for ctx.Err() == nil {
		var err error
		if !registered {
			_, err = client.Create(ctx, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.name}})
			if registered = err == nil || apierrors.IsAlreadyExists(err); !registered {
				lease = nil
			}
		}
		if registered {
			lease, err = m.renew(ctx, c, lease)
		}
		wait := every
		if err != nil && !apierrors.IsAlreadyExists(err) {
			wait = again
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// renew writes the lease, which is read first when it is not known.
func (m *member) renew(ctx context.Context, c *client.Client, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	const namespace = corev1.NamespaceNodeLease
	var err error
	if lease == nil {
		lease, err = client.Get[*coordinationv1.Lease](ctx, c, namespace, m.name)
	}
	now := metav1.NowMicro()
	switch {
	case apierrors.IsNotFound(err):
		lease, err = client.Create(ctx, c, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: m.name},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &m.name, LeaseDurationSeconds: new(int32(40)), RenewTime: &now},
		})
	case err == nil:
		lease = lease.DeepCopy()
		lease.Spec.RenewTime = &now
		lease, err = client.Update(ctx, c, lease)
	}
	if err != nil {
		return nil, err
	}
	at := int64(time.Since(epoch))
	if last := m.renewed.Swap(at); last > 0 {
		m.oldest.Store(max(m.oldest.Load(), at-last))
	}
	return lease, nil
}
