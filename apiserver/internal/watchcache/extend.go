package watchcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// extendBy is how many revisions more than needed are read: after a restart
// many clients come back, each from a place of its own.
const extendBy = 4096

// extend reads further back into the history from the store below, for a
// watch that starts before ours: after a restart ours is empty. One reads at
// a time, the others profit.
func (c *collection) extend(ctx context.Context, o storage.WatchOptions) error {
	select {
	case c.extending <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.extending }()
	c.mu.Lock()
	h, v := c.history, c.view.Load()
	since, reached := h.since, h.reaches(o)
	room := h.limit.high - h.bytes
	c.mu.Unlock()
	if reached {
		return nil
	}
	// One revision more than asked for: that itself may have to be delivered.
	after := max(o.Revision-1, 0)
	far := max(min(after, since-extendBy), 0)
	past, err := c.store.kv.History(ctx, c.prefix, far, since, room)
	var compacted *kv.Compacted
	if far < after && (errors.As(err, &compacted) || errors.Is(err, kv.ErrTooLarge)) {
		far = after
		past, err = c.store.kv.History(ctx, c.prefix, far, since, room)
	}
	if errors.As(err, &compacted) || errors.Is(err, kv.ErrTooLarge) {
		return storage.ErrExpired
	}
	if err != nil {
		return fmt.Errorf("read the history of %s: %w", c.resource.Plural, err)
	}
	links := c.links(past, v)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.history == h && h.since == since {
		h.prepend(links, far)
	}
	return nil
}

// links makes what the feed would have made of these events.
func (c *collection) links(past []kv.Past, v *view) []*link {
	var links []*link
	var steps []step
	now := time.Now()
	for i := range past {
		p := &past[i]
		ns, name := c.names(p.Key)
		var s step
		if p.Before != nil {
			s.old, _ = c.object(p.Key, p.Before.Value, p.Before.Revision)
		}
		if !p.Delete {
			s.new, _ = c.object(p.Key, p.Value, p.Revision)
			// The newest version is in memory already.
			if o := v.objects.get(key{namespace: ns, name: name}); o != nil && o.Revision == p.Revision {
				s.new = o
			}
		}
		if s.old != nil || s.new != nil {
			steps = append(steps, s)
		}
		if i+1 < len(past) && past[i+1].Revision == p.Revision || len(steps) == 0 {
			continue
		}
		l := newLink(p.Revision, steps, now)
		l.weigh()
		links = append(links, l)
		steps = steps[:0]
	}
	return links
}

// prepend adds older revisions, so that the history is complete after since.
func (h *history) prepend(links []*link, since int64) {
	for _, l := range links {
		h.bytes += l.bytes
	}
	h.fresh += len(links) - h.first
	h.links = append(links, h.live()...)
	h.first = 0
	h.since, h.whole = since, false
}
