package manager

import (
	"context"
	"fmt"
	"sync"

	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/control"
)

// status is how each controller fares, for /healthz.
type status struct {
	names []string

	mu     sync.Mutex
	failed map[string]error // guarded by mu: controllers that ended by themselves
}

func newStatus(specs []control.Spec) *status {
	s := &status{failed: map[string]error{}}
	for i := range specs {
		s.names = append(s.names, specs[i].Name)
	}
	return s
}

func (s *status) checks() []daemon.Check {
	out := []daemon.Check{{Name: "leaderElection"}}
	for _, name := range s.names {
		out = append(out, daemon.Check{Name: name, Func: func(context.Context) error { return s.of(name) }})
	}
	return out
}

func (s *status) of(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[name]
}

// set notes how a controller ended; nil is well.
func (s *status) set(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failed, name)
		return
	}
	s.failed[name] = fmt.Errorf("%s has ended: %w", name, err)
}
