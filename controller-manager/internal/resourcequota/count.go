package resourcequota

import (
	"context"
	"sync"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/stream"
	"xebec.dev/controller-manager/internal/catalog"
	pb "xebec.dev/proto/gen/control/v1"
)

// counter knows how many objects of a resource each namespace has, by their
// metadata. It follows the resource from when some quota counts it.
type counter struct {
	resource catalog.Resource
	changed  func(namespace string)

	mu     sync.Mutex
	synced bool               // guarded by mu
	names  map[cache.Key]bool // guarded by mu
	counts map[string]int64   // guarded by mu
	round  map[cache.Key]bool // guarded by mu: a round of initial objects
}

func newCounter(r catalog.Resource, changed func(namespace string)) *counter {
	return &counter{resource: r, changed: changed, names: map[cache.Key]bool{}, counts: map[string]int64{}}
}

// count is the number of objects in a namespace; ok is false until it is known.
func (c *counter) count(namespace string) (n int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[namespace], c.synced
}

// run follows the resource until ctx ends.
func (c *counter) run(ctx context.Context, s *stream.Stream) {
	sub := s.Add(stream.Request{Resource: c.resource.Wire(), Projection: client.Projection(true, nil), ChangedOnly: true})
	defer sub.Close()
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return
		}
		for _, ns := range c.apply(b) {
			c.changed(ns)
		}
	}
}

// apply gives the namespaces whose number has changed.
func (c *counter) apply(b stream.Batch) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := map[string]int64{}
	note := func(ns string) {
		if _, ok := before[ns]; !ok {
			before[ns] = c.counts[ns]
		}
	}
	if b.Reset {
		c.round = map[cache.Key]bool{}
	}
	for _, e := range b.Events {
		m, err := client.DecodeMetadata(e.Object)
		if err != nil {
			continue
		}
		key := cache.Key{Namespace: m.Namespace, Name: m.Name}
		note(key.Namespace)
		if e.Type == pb.Event_DELETED {
			c.drop(key)
			continue
		}
		if c.round != nil {
			c.round[key] = true
		}
		if !c.names[key] {
			c.names[key] = true
			c.counts[key.Namespace]++
		}
	}
	if b.InitialEnd && c.round != nil {
		for key := range c.names {
			if !c.round[key] {
				note(key.Namespace)
				c.drop(key)
			}
		}
		c.round = nil
		if !c.synced {
			c.synced = true
			return []string{""} // quotas of all namespaces waited for this
		}
	}
	var out []string
	for ns, n := range before {
		if c.synced && c.counts[ns] != n {
			out = append(out, ns)
		}
	}
	return out
}

func (c *counter) drop(key cache.Key) {
	if !c.names[key] {
		return
	}
	delete(c.names, key)
	if c.counts[key.Namespace]--; c.counts[key.Namespace] == 0 {
		delete(c.counts, key.Namespace)
	}
}
