// Package app is the program around the loop: flags, configuration, feeds,
// leader election and the HTTPS endpoint.
package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/apps"
	"xebec.dev/api/authentication"
	"xebec.dev/api/authorization"
	"xebec.dev/api/coordination"
	"xebec.dev/api/core"
	"xebec.dev/api/policy"
	"xebec.dev/api/scheme"
	"xebec.dev/api/storage"
	"xebec.dev/client"
	"xebec.dev/client/daemon"
	"xebec.dev/client/election"
	"xebec.dev/client/event"
	"xebec.dev/client/stream"
	"xebec.dev/scheduler/internal/bind"
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/extender"
	"xebec.dev/scheduler/internal/loop"
	"xebec.dev/scheduler/internal/metrics"
	"xebec.dev/scheduler/internal/podresources"
	"xebec.dev/scheduler/internal/queue"
)

// Name of the program.
const Name = "kube-scheduler"

// Program is kube-scheduler.
func Program() daemon.Program {
	f := &flags{}
	return daemon.Program{
		Name:     Name,
		About:    "The Kubernetes scheduler decides which node each pod runs on: nodes that can't take it are filtered out, the others are scored, and the pod is bound to the best.",
		Defaults: daemon.Defaults{SecurePort: 10259, LeaseName: Name, LeaderElect: true},
		AddFlags: f.add,
		Run:      f.run,
	}
}

type flags struct {
	maxUnschedulable time.Duration
	writeConfig      string
}

func (f *flags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&f.maxUnschedulable, "pod-max-in-unschedulable-pods-duration", queue.DefaultMaxUnschedulable, "The maximum time a pod can stay in unschedulablePods before it is tried again.")
	fs.StringVar(&f.writeConfig, "write-config-to", "", "If set, write the configuration values to this file and exit.")
}

// gather lets the API server put events of so long into one message: fewer,
// larger batches under load.
const gather = 2 * time.Millisecond

func (f *flags) run(ctx context.Context, p *daemon.Process) error {
	cfg, err := f.config(p)
	if err != nil {
		return err
	}
	if f.writeConfig != "" {
		return config.Write(f.writeConfig, cfg)
	}
	p.Configz.Set(config.Group, cfg)
	s := resources()
	c, err := client.Dial(client.Config{Kubeconfig: cfg.ClientConnection.Kubeconfig, Server: p.Flags.Master}, s, client.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the process ends
	m := metrics.New()
	p.Registry.MustRegister(m.Collectors()...)
	electionMetrics := election.NewMetrics()
	p.Registry.MustRegister(electionMetrics)

	w := bind.NewWriter(c)
	watch := stream.New(c, stream.Options{Log: p.Log.Named("watch"), Gather: gather})
	cluster := cache.New()
	objects := newObjects()
	seed := uint64(time.Now().UnixNano())
	outside, err := extender.New(cfg.Extenders)
	if err != nil {
		return err
	}
	deps := config.Deps{Log: p.Log, Owners: objects.owners, Budgets: objects.budgetsOf, Volumes: objects.volumes, VolumeWriter: w, Seed: seed, Ignored: extender.Ignored(cfg.Extenders)}
	loopOptions := loop.Options{}
	if outside != nil {
		deps.Preempt, loopOptions.Extenders = outside.Preempt, outside
	}
	profiles, err := config.Profiles(cfg, deps)
	if err != nil {
		return err
	}
	loopOptions.Queue = queue.Options{
		InitialBackoff: time.Duration(*cfg.PodInitialBackoffSeconds) * time.Second, MaxBackoff: time.Duration(*cfg.PodMaxBackoffSeconds) * time.Second,
		MaxUnschedulable: f.maxUnschedulable,
	}
	loopOptions.Lookup = func(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
		return client.Get[*corev1.Pod](ctx, c, namespace, name)
	}
	loopOptions.Metrics, loopOptions.Log, loopOptions.Seed = m, p.Log, seed
	l := loop.New(cluster, profiles, w, bind.NewRecorder(w), loopOptions)
	in := &feeds{c: c, stream: watch, l: l, log: p.Log}
	in.objects(objects)
	in.core(outside != nil)
	if in.err != nil {
		return in.err
	}
	synced := make(chan struct{})
	l.OnSynced(func() { close(synced) })
	p.Health.Add(daemon.Check{Name: "sched-handler-sync", ReadyOnly: true, Func: func(context.Context) error {
		select {
		case <-synced:
			return nil
		default:
			return errors.New("waiting for handlers to sync")
		}
	}})
	guard, closeAll, err := p.Guard(s)
	if err != nil {
		return err
	}
	defer closeAll()
	lead := func(ctx context.Context) error { return leadAlways(ctx, l) }
	if *cfg.LeaderElection.LeaderElect {
		lead = func(ctx context.Context) error { return leadWhenElected(ctx, p, c, cfg, electionMetrics, l) }
	}
	mux := p.Mux()
	mux.Handle("/metrics/resources", podresources.Handler(l.Pods))
	runs := append([]func(context.Context) error{
		watch.Run, w.Run, l.Run, lead,
		func(ctx context.Context) error { return p.Serve(ctx, guard.Wrap(mux)) },
	}, in.run...)
	return daemon.Run(ctx, runs...)
}

// resources are the part of the table that a scheduler reads or writes. The
// whole one would link every kind with its validation.
func resources() *scheme.Scheme {
	return scheme.New(core.Resources(), apps.Resources(), policy.Resources(), storage.Resources(), coordination.Resources(),
		authentication.Resources(), authorization.Resources())
}

func leadAlways(ctx context.Context, l *loop.Loop) error {
	l.Lead(true)
	<-ctx.Done()
	return ctx.Err()
}

// leadWhenElected stands for the lease again and again: a leader that lost it
// stops scheduling at once, keeps following the cluster and may lead later.
func leadWhenElected(ctx context.Context, p *daemon.Process, c *client.Client, cfg *config.Configuration, m *election.Metrics, l *loop.Loop) error {
	o := p.Flags.Election()
	le := &cfg.LeaderElection
	o.Namespace, o.Name = le.ResourceNamespace, le.ResourceName
	o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = le.LeaseDuration.Duration, le.RenewDeadline.Duration, le.RetryPeriod.Duration
	o.Metrics, o.Log = m, p.Log
	told := event.NewRecorder(event.Over(c), c.Scheme(), corev1.DefaultSchedulerName, event.Options{Host: "-", Log: p.Log})
	o.Told = func(l *coordinationv1.Lease, message string) {
		told.Event(l, corev1.EventTypeNormal, "LeaderElection", message)
	}
	return daemon.Run(ctx, told.Run, func(ctx context.Context) error { return standAs(ctx, p, c, o, l) })
}

func standAs(ctx context.Context, p *daemon.Process, c *client.Client, o election.Options, l *loop.Loop) error {
	for {
		e, err := election.New(election.Over(c), o)
		if err != nil {
			return fmt.Errorf("leaderElection: %w", err)
		}
		o.Identity = e.Identity()
		err = e.Run(ctx, func(ctx context.Context) error {
			l.Lead(true)
			<-ctx.Done()
			l.LeadNoMore()
			return ctx.Err()
		})
		if !errors.Is(err, election.ErrLost) {
			return err
		}
		p.Log.Warn("standing for leadership again", zap.String("lease", o.Namespace+"/"+o.Name))
	}
}

func (f *flags) config(p *daemon.Process) (*config.Configuration, error) {
	cfg, err := config.Load(p.Flags.Config)
	if err != nil {
		return nil, err
	}
	// Flags of what the file can say count only without a file, but for the
	// kubeconfig that a file leaves out.
	fl := p.Flags
	if fl.Config == "" || cfg.ClientConnection.Kubeconfig == "" {
		cfg.ClientConnection.Kubeconfig = fl.Kubeconfig
	}
	if fl.Config == "" {
		cfg.LeaderElection.LeaderElect = &fl.LeaderElect
		cfg.EnableProfiling, cfg.EnableContentionProfiling = &fl.Profiling, &fl.Contention
	}
	fl.Profiling, fl.Contention = *cfg.EnableProfiling, *cfg.EnableContentionProfiling
	for name, set := range map[string]func(){
		"leader-elect":                    func() { cfg.LeaderElection.LeaderElect = &fl.LeaderElect },
		"leader-elect-lease-duration":     func() { cfg.LeaderElection.LeaseDuration.Duration = fl.LeaseDuration },
		"leader-elect-renew-deadline":     func() { cfg.LeaderElection.RenewDeadline.Duration = fl.RenewDeadline },
		"leader-elect-retry-period":       func() { cfg.LeaderElection.RetryPeriod.Duration = fl.RetryPeriod },
		"leader-elect-resource-name":      func() { cfg.LeaderElection.ResourceName = fl.LeaseName },
		"leader-elect-resource-namespace": func() { cfg.LeaderElection.ResourceNamespace = fl.LeaseNamespace },
	} {
		if p.Changed(name) {
			set()
		}
	}
	if err := config.Validate(cfg); err != nil {
		return nil, err
	}
	for field, reason := range cfg.Ignored() {
		p.Log.Warn("a setting has no effect", zap.String("field", field), zap.String("reason", reason))
	}
	return cfg, nil
}
