// Package controller runs reconcile loops: workers that take keys from a
// queue once the replicas they read have synced.
//
// A Controller owns its workers and its queue; Run returns when they have
// ended.
package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
)

// Reconciler brings what a key names to where it should be. It is
// level-triggered: the key says where to look, not what happened.
type Reconciler[K comparable] interface {
	Reconcile(ctx context.Context, key K) error
}

// Func is a Reconciler.
type Func[K comparable] func(ctx context.Context, key K) error

// Reconcile implements Reconciler.
func (f Func[K]) Reconcile(ctx context.Context, key K) error { return f(ctx, key) }

// again asks for another look.
type again struct{ after time.Duration }

func (a again) Error() string { return fmt.Sprintf("look again after %s", a.after) }

// After is returned by a Reconcile that went well and wants to look at the
// key again after a time. It is no failure.
func After(d time.Duration) error { return again{d} }

// Options of a controller; the zero value works.
type Options[K comparable] struct {
	// Workers is 1 when 0.
	Workers int
	// Synced are the replicas to wait for.
	Synced []cache.Synced
	// MaxAttempts, when not 0, gives a key up after so many failures in a
	// row, until it is added again.
	MaxAttempts int
	Log         *zap.Logger
}

// Controller is a queue with workers.
type Controller[K comparable] struct {
	name  string
	queue *workqueue.Queue[K]
	do    Reconciler[K]
	o     Options[K]
}

// New makes a controller over a queue, which it owns from now on.
func New[K comparable](name string, queue *workqueue.Queue[K], do Reconciler[K], o Options[K]) *Controller[K] {
	if o.Workers <= 0 {
		o.Workers = 1
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Controller[K]{name: name, queue: queue, do: do, o: o}
}

// Queue is where keys go in.
func (c *Controller[K]) Queue() *workqueue.Queue[K] { return c.queue }

// Run works until ctx ends, then lets the workers finish the key they have.
func (c *Controller[K]) Run(ctx context.Context) error {
	defer c.queue.ShutDown()
	if err := cache.WaitForSync(ctx, c.o.Synced...); err != nil {
		return fmt.Errorf("controller %s: %w", c.name, err)
	}
	c.o.Log.Info("controller started", zap.String("controller", c.name), zap.Int("workers", c.o.Workers))
	var workers sync.WaitGroup
	for range c.o.Workers {
		workers.Go(func() { c.work(ctx) })
	}
	workers.Wait()
	return ctx.Err()
}

func (c *Controller[K]) work(ctx context.Context) {
	for ctx.Err() == nil {
		key, ok := c.queue.Get(ctx)
		if !ok {
			return
		}
		c.one(ctx, key)
	}
}

func (c *Controller[K]) one(ctx context.Context, key K) {
	defer c.queue.Done(key)
	began := time.Now()
	err := c.do.Reconcile(ctx, key)
	var later again
	switch {
	case err == nil:
		c.queue.Forget(key)
	case errors.As(err, &later):
		c.queue.Forget(key)
		c.queue.AddAfter(key, later.after)
	case ctx.Err() != nil:
		// The end, not a failure.
	default:
		c.failed(key, err, time.Since(began))
	}
}

func (c *Controller[K]) failed(key K, err error, elapsed time.Duration) {
	attempt := c.queue.Failures(key) + 1
	fields := []zap.Field{zap.String("controller", c.name), zap.Any("key", key), zap.Int("attempt", attempt), zap.Duration("elapsed", elapsed), zap.Error(err)}
	if c.o.MaxAttempts > 0 && attempt >= c.o.MaxAttempts {
		c.o.Log.Error("reconcile failed and is given up", fields...)
		c.queue.Forget(key)
		return
	}
	c.o.Log.Warn("reconcile failed and is tried again", fields...)
	c.queue.AddRateLimited(key)
}
