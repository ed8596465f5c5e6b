package manager

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"xebec.dev/client"
	"xebec.dev/client/daemon"
	"xebec.dev/client/event"
	"xebec.dev/client/stream"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

// lead runs all controllers until ctx ends, from nothing known.
func (m *manager) lead(ctx context.Context) error {
	s := stream.New(m.client, stream.Options{Log: m.Log.Named("stream")})
	set := replica.NewSet(m.client, s, m.replicas, m.Log.Named("replica"))
	ids := &identities{m: m, config: m.Flags.API()}
	defer ids.close()
	runs := []func(context.Context) error{s.Run, set.Run}
	for i := range m.enabled {
		spec := m.enabled[i]
		env, own, err := m.env(spec, set, ids)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Name, err)
		}
		c, err := spec.New(env)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Name, err)
		}
		if c == nil {
			m.Log.Info("controller has nothing to do by its flags", zap.String("controller", spec.Name))
			continue
		}
		m.status.set(spec.Name, nil)
		runs = append(runs, own...)
		runs = append(runs, m.guarded(spec.Name, c))
	}
	runs = append(runs, ids.runs...)
	return daemon.Run(ctx, runs...)
}

// guarded notes when a controller ends by itself: its health check then fails,
// and the rest goes on.
func (m *manager) guarded(name string, c control.Runner) func(context.Context) error {
	return func(ctx context.Context) error {
		err := c.Run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = errors.New("without an error")
		}
		m.status.set(name, err)
		m.Log.Error("a controller has ended", zap.String("controller", name), zap.Error(err))
		<-ctx.Done()
		return ctx.Err()
	}
}

// env is what a controller gets; own must run beside it.
func (m *manager) env(spec control.Spec, set *replica.Set, ids *identities) (*control.Env, []func(context.Context) error, error) {
	log := m.Log.Named(spec.Name)
	id, err := ids.of(spec.ServiceAccount)
	if err != nil {
		return nil, nil, err
	}
	events := event.NewRecorder(event.Over(id.client), m.client.Scheme(), spec.EventSource, event.Options{Host: "-", Metrics: m.events, Log: log})
	return &control.Env{
		Config: m.cfg, Replicas: set, Client: id.client, Write: write.NewWriter(id.client, id.batch),
		Events: events, Queues: m.queues, Log: log,
	}, []func(context.Context) error{events.Run}, nil
}

// identity is who writes.
type identity struct {
	client *client.Client
	batch  *client.Batch
}

// identities are the writers: one for all controllers, or one for each service
// account.
type identities struct {
	m      *manager
	config client.Config
	shared *identity
	nobody *client.Client // the connection of all service accounts
	runs   []func(context.Context) error
}

func (ids *identities) of(account string) (*identity, error) {
	if !ids.m.cfg.ServiceAccountCreds || account == control.Manager {
		if ids.shared == nil {
			ids.shared = ids.over(ids.m.client)
		}
		return ids.shared, nil
	}
	if ids.nobody == nil {
		config := ids.config
		config.Nobody = true
		c, err := client.Dial(config, ids.m.client.Scheme(), client.Options{Extra: ids.m.fence.options()})
		if err != nil {
			return nil, err
		}
		ids.nobody = c
	}
	return ids.over(ids.nobody.As((&tokens{client: ids.m.client, account: account}).get)), nil
}

func (ids *identities) over(c *client.Client) *identity {
	b := client.NewBatch(c, 0)
	ids.runs = append(ids.runs, b.Run)
	return &identity{client: c, batch: b}
}

func (ids *identities) close() {
	if ids.nobody != nil {
		_ = ids.nobody.Close() // nothing is lost
	}
}
