package state

import (
	"iter"
	"slices"
	"sync"

	"xebec.dev/client/cache"
)

// slicesOf are the names of each service's slices, in order. Most changes of a
// slice leave them as they are; an index of the replica's would be changed
// with each.
type slicesOf struct {
	mu    sync.Mutex
	names map[cache.Key][]string // guarded by mu; lists are replaced, not changed
}

func (s *slicesOf) add(service cache.Key, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.names[service]
	if at, have := slices.BinarySearch(was, name); !have {
		s.names[service] = slices.Insert(slices.Clip(was), at, name)
	}
}

func (s *slicesOf) remove(service cache.Key, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(s.names[service]), func(n string) bool { return n == name })
	if len(rest) == 0 {
		delete(s.names, service)
		return
	}
	s.names[service] = rest
}

// of visits a service's slices, by name.
func (s *slicesOf) of(service cache.Key, all *cache.Snapshot[*Packed]) iter.Seq[*Packed] {
	s.mu.Lock()
	names := s.names[service]
	s.mu.Unlock()
	return func(yield func(*Packed) bool) {
		for _, n := range names {
			p, ok := all.Get(service.Namespace, n)
			if !ok {
				continue // it has just gone
			}
			if now, _ := p.serviceKey(); now == service && !yield(p) {
				return
			}
		}
	}
}
