// Package replica is the view that all controllers share: one replica per
// resource, over one watch stream. A replica exists once some controller has
// asked for it, before the set runs.
package replica

import (
	"context"
	"fmt"
	"reflect"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/stream"
)

// Set is the replicas of a process. It is built by one goroutine and not
// changed once Run has begun.
type Set struct {
	Client  *client.Client
	Stream  *stream.Stream
	Metrics *cache.Metrics
	Log     *zap.Logger

	byType map[reflect.Type]any
	all    []runner
}

type runner interface {
	cache.Synced
	Run(ctx context.Context) error
}

// NewSet makes an empty set.
func NewSet(c *client.Client, s *stream.Stream, m *cache.Metrics, log *zap.Logger) *Set {
	return &Set{Client: c, Stream: s, Metrics: m, Log: log, byType: map[reflect.Type]any{}}
}

// Of is the replica of the resource whose objects are T, made as the table of
// projections says. It panics for a type that is no resource: a mistake in the
// program.
func Of[T scheme.Object](s *Set) *cache.Replica[T] {
	typ := reflect.TypeFor[T]()
	if have, ok := s.byType[typ]; ok {
		return have.(*cache.Replica[T])
	}
	var o cache.Options[T]
	if known, ok := projections[typ]; ok {
		o = known.(cache.Options[T])
	}
	o.Metrics, o.Log = s.Metrics, s.Log
	r, err := cache.New(s.Client, s.Stream, o)
	if err != nil {
		panic(fmt.Sprintf("replica: %v", err))
	}
	s.byType[typ] = r
	s.all = append(s.all, r)
	return r
}

// Run follows all replicas until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	done := make(chan error, len(s.all))
	for _, r := range s.all {
		go func() { done <- r.Run(ctx) }()
	}
	for range s.all {
		<-done
	}
	<-ctx.Done()
	return ctx.Err()
}

// Synced are all replicas of the set.
func (s *Set) Synced() []cache.Synced {
	out := make([]cache.Synced, len(s.all))
	for i, r := range s.all {
		out[i] = r
	}
	return out
}
