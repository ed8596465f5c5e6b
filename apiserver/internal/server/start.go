package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"xebec.dev/apiserver/internal/health"
	"xebec.dev/client/resident"
)

// hooks are the steps of starting, each a readiness check of its own by
// upstream's name.
type hooks struct {
	mu   sync.Mutex
	done map[string]bool // guarded by mu
}

func newHooks() *hooks { return &hooks{done: map[string]bool{}} }

func (h *hooks) finish(name string) {
	h.mu.Lock()
	h.done[name] = true
	h.mu.Unlock()
}

func (h *hooks) finished(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done[name]
}

func (h *hooks) check(name string) health.Check {
	return health.Check{Name: "poststarthook/" + name, Func: func(context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.done[name] {
			return errors.New("not finished")
		}
		return nil
	}}
}

// step is one step of starting, once the cache is filled.
type step struct {
	name string
	run  func(ctx context.Context) error
}

func (s *Server) steps() []step {
	return []step{
		{"start-system-namespaces-controller", s.maker.Namespaces},
		{"rbac/bootstrap-roles", s.bootstrapRoles},
		{"scheduling/bootstrap-system-priority-classes", s.maker.SystemPriorities},
		{"start-kubernetes-service-cidr-controller", s.cluster().ServiceCIDR},
		{"bootstrap-controller", s.cluster().Service},
		{"start-cluster-authentication-info-controller", s.bootstrapAuthenticationInfo},
		{"priority-and-fairness-config-producer", s.maker.FlowControl},
		{"start-service-ip-repair-controllers", s.repairServices},
		{"start-kube-apiserver-identity-lease-controller", s.lease.Renew},
		{"start-kube-apiserver-identity-lease-garbage-collector", s.lease.Collect},
		{"start-legacy-token-tracking-controller", s.maker.LegacyTokenTracking},
		{"apiservice-registration-controller", func(ctx context.Context) error { return s.maker.APIServices(ctx, s.groups) }},
	}
}

// start fills the cluster with what must be there, then keeps it.
func (s *Server) start(ctx context.Context) error {
	began := time.Now()
	if err := s.waitForCache(ctx); err != nil {
		return err
	}
	s.hooks.finish("storage-readiness")
	if err := s.allSteps(ctx); err != nil {
		return err
	}
	s.log.Info("ready", zap.Duration("elapsed", time.Since(began)))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		// Whoever waited for it connects and makes a first request.
		if err := resident.Settle(ctx, time.Second); err != nil {
			s.log.Info("memory used by the start only is kept", zap.Error(err))
		}
		return nil
	})
	g.Go(func() error { return s.keep(ctx) })
	return g.Wait()
}

// allSteps runs the first step, the namespaces, and then the others at once:
// each waits for the disk many times, and waits that coincide share it.
func (s *Server) allSteps(ctx context.Context) error {
	steps := s.steps()
	one := func(st step) error {
		if err := s.retry(ctx, st); err != nil {
			return err
		}
		s.hooks.finish(st.name)
		return nil
	}
	if err := one(steps[0]); err != nil {
		return err
	}
	var g errgroup.Group
	for _, st := range steps[1:] {
		g.Go(func() error { return one(st) })
	}
	return g.Wait()
}

// retry runs a step until it succeeds: etcd may be away, another server may
// be doing the same.
func (s *Server) retry(ctx context.Context, st step) error {
	for wait := 50 * time.Millisecond; ; wait = min(wait*2, 5*time.Second) {
		err := st.run(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("a step of starting failed and is tried again", zap.String("step", st.name), zap.Error(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (s *Server) waitForCache(ctx context.Context) error {
	for n := 0; ; n++ {
		err := s.store.Ready(ctx)
		if err == nil {
			return nil
		}
		if n%500 == 499 {
			s.log.Warn("waiting for etcd", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) checks() {
	draining := func(context.Context) error {
		select {
		case <-s.drain:
			return errors.New("the server is shutting down")
		default:
			return nil
		}
	}
	etcd := lately(time.Second, func(ctx context.Context) error {
		if s.store.Loaded() == nil && time.Since(s.store.Written()) < writtenLately {
			return nil // probes of an idle cluster would else be much of what etcd does
		}
		if err := s.store.Ready(ctx); err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		return nil
	})
	s.health.Add(
		health.Check{Name: "ping"},
		health.Check{Name: "log"},
		health.Check{Name: "etcd", Func: etcd},
		health.Check{Name: "etcd-readiness", ReadyOnly: true, Func: etcd},
		health.Check{Name: "informer-sync", ReadyOnly: true, Func: func(context.Context) error { return s.store.Loaded() }},
	)
	s.health.Add(s.hooks.check("storage-readiness"))
	for _, st := range s.steps() {
		s.health.Add(s.hooks.check(st.name))
	}
	s.health.Add(health.Check{Name: "shutdown", ReadyOnly: true, Func: draining})
}

// writtenLately is how long a write that etcd took shows that it is well. A
// cluster writes a lease every two or three seconds.
const writtenLately = 5 * time.Second

// lately is check, not asked again for a while after it was well: two checks
// of one probe are one question to etcd.
func lately(while time.Duration, check func(context.Context) error) func(context.Context) error {
	var well atomic.Int64 // when, in nanoseconds since the epoch
	return func(ctx context.Context) error {
		if since := time.Since(time.Unix(0, well.Load())); since >= 0 && since < while {
			return nil
		}
		err := check(ctx)
		if err == nil {
			well.Store(time.Now().UnixNano())
		}
		return err
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// firstAddress is the first usable address of a network: the kubernetes
// Service's.
func firstAddress(n net.IPNet) net.IP {
	ip := make(net.IP, len(n.IP))
	copy(ip, n.IP)
	ip[len(ip)-1]++
	return ip
}
