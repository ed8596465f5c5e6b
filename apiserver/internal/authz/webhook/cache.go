package webhook

import (
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// cache remembers answers until they expire. The zero value is ready.
type cache struct {
	mu sync.Mutex
	// guarded by mu.
	entries map[string]entry
}

type entry struct {
	status *authorizationv1.SubjectAccessReviewStatus
	until  time.Time
}

// maxEntries bounds the memory; when full, what has expired goes, or else all.
const maxEntries = 8192

func (c *cache) get(key string, now time.Time) (*authorizationv1.SubjectAccessReviewStatus, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		return nil, false
	}
	return e.status, true
}

func (c *cache) put(key string, s *authorizationv1.SubjectAccessReviewStatus, now time.Time, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]entry{}
	}
	if len(c.entries) >= maxEntries {
		for k, e := range c.entries {
			if !now.Before(e.until) {
				delete(c.entries, k)
			}
		}
		if len(c.entries) >= maxEntries {
			clear(c.entries)
		}
	}
	c.entries[key] = entry{s, now.Add(ttl)}
}
