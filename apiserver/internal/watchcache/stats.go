package watchcache

import "xebec.dev/api/scheme"

// Stats are what a collection holds, for metrics.
type Stats struct {
	Resource *scheme.Resource
	// Objects and their stored Bytes.
	Objects int
	Bytes   int64
	// History is the number of revisions that watches can resume from, in
	// HistoryBytes of older versions; Since is the first of them.
	History      int
	HistoryBytes int
	Since        int64
	// Watched is the number of parts that are watched by themselves.
	Watched int
}

// Stats tells what every collection holds.
func (s *Store) Stats() []Stats {
	table := *s.table.Load()
	all := make([]Stats, 0, len(table))
	for _, c := range table {
		all = append(all, c.stats())
	}
	return all
}

func (c *collection) stats() Stats {
	out := Stats{Resource: c.resource}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	if v == nil {
		return out
	}
	h := c.history
	out.Objects, out.Bytes = v.objects.len(), v.bytes
	out.History, out.HistoryBytes, out.Since = len(h.live()), h.bytes, h.since
	out.Watched = len(h.buckets)
	return out
}
