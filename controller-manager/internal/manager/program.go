// Package manager is the program around the controllers: flags, leader
// election, one stream and one set of replicas for all of them.
package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/election"
	"xebec.dev/client/event"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
)

// Program is kube-controller-manager.
func Program() daemon.Program {
	cfg := &control.Config{}
	return daemon.Program{
		Name: "kube-controller-manager",
		About: "The Kubernetes controller manager is a daemon that embeds the core control loops shipped with Kubernetes: " +
			"each watches the shared state of the cluster through the API server and makes changes attempting to move the current state towards the desired state.",
		Defaults: daemon.Defaults{SecurePort: 10257, LeaseName: "kube-controller-manager", LeaderElect: true},
		AddFlags: func(fs *pflag.FlagSet) { cfg.AddFlags(fs) },
		Ignored:  control.Ignored,
		Run:      func(ctx context.Context, p *daemon.Process) error { return run(ctx, p, cfg) },
	}
}

// manager is the running program.
type manager struct {
	*daemon.Process
	cfg   *control.Config
	fence fence
	// lease is the connection of the election, which no fence may hold up;
	// client is for everything else.
	lease   *client.Client
	client  *client.Client
	enabled []control.Spec
	status  *status

	replicas *cache.Metrics
	queues   *workqueue.Metrics
	events   *event.Metrics
}

func run(ctx context.Context, p *daemon.Process, cfg *control.Config) error {
	enabled, err := choose(Table(), cfg.Controllers)
	if err != nil {
		return fmt.Errorf("--controllers: %w", err)
	}
	m := &manager{
		Process: p, cfg: cfg, enabled: enabled, status: newStatus(enabled),
		replicas: &cache.Metrics{}, queues: workqueue.NewMetrics(), events: event.NewMetrics(),
	}
	m.fence.on = p.Flags.LeaderElect
	if m.client, err = client.Dial(p.Flags.API(), builtin.Scheme(), client.Options{Extra: m.fence.options()}); err != nil {
		return err
	}
	defer func() { _ = m.client.Close() }() // nothing is lost
	guard, closeGuard, err := p.Guard(builtin.Scheme())
	if err != nil {
		return err
	}
	defer closeGuard()
	elected := election.NewMetrics()
	p.Registry.MustRegister(m.replicas, m.queues, m.events, elected)
	p.Health.Add(m.status.checks()...)
	work := m.lead
	if p.Flags.LeaderElect {
		if m.lease, err = client.Dial(p.Flags.API(), builtin.Scheme(), client.Options{}); err != nil {
			return err
		}
		defer func() { _ = m.lease.Close() }() // nothing is lost
		work = func(ctx context.Context) error { return m.stand(ctx, elected) }
	}
	return daemon.Run(ctx, func(ctx context.Context) error { return p.Serve(ctx, guard.Wrap(p.Mux())) }, work)
}

// stand leads whenever it is the leader. A leader that loses its lease stops
// all it does, forgets what it knew and stands again: a slow disk below the
// API server is no reason to end. It stands under its old name, and so need
// not wait for its own lease to run out.
func (m *manager) stand(ctx context.Context, metrics *election.Metrics) error {
	o := m.Flags.Election()
	o.Log, o.Metrics = m.Log.Named("election"), metrics
	held := o.RenewDeadline
	o.Renewed = func(at time.Time) { m.fence.renewed(at, held) }
	told := event.NewRecorder(event.Over(m.lease), m.lease.Scheme(), "kube-controller-manager", event.Options{Host: "-", Metrics: m.events, Log: m.Log.Named("election")})
	o.Told = func(l *coordinationv1.Lease, message string) {
		told.Event(l, control.Normal, "LeaderElection", message)
	}
	return daemon.Run(ctx, told.Run, func(ctx context.Context) error { return m.standAs(ctx, o) })
}

func (m *manager) standAs(ctx context.Context, o election.Options) error {
	for {
		e, err := election.New(election.Over(m.lease), o)
		if err != nil {
			return err
		}
		o.Identity = e.Identity()
		if err := e.Run(ctx, m.lead); !errors.Is(err, election.ErrLost) {
			return err
		}
		m.Log.Warn("standing for leadership again", zap.String("lease", o.Namespace+"/"+o.Name))
	}
}
