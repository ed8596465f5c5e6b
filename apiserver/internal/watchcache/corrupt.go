package watchcache

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"xebec.dev/apiserver/internal/storage"
)

// breakOff ends all watches: an object became unreadable, or readable, and
// there is no event that says so. An unreadable one was not deleted, which is
// what leaving it out would tell those who then delete what it owns: they list
// anew, and that fails until it can be read. It needs the lock.
func (c *collection) breakOff() {
	c.broken = false
	c.next.unknown, c.next.last = true, nil
	old := c.history
	c.history = newHistory(c.revision, false, old.limit, c.index)
	old.end()
}

// setCorrupt notes or clears that a key's value cannot be read. The map is
// shared with published views and copied before it changes.
func (v *view) setCorrupt(path string, err error) {
	if err == nil && v.corrupt[path] == nil {
		return
	}
	m := map[string]error{}
	for k, e := range v.corrupt {
		m[k] = e
	}
	if err != nil {
		m[path] = err
	} else {
		delete(m, path)
	}
	v.corrupt = m
}

// vainReads are how many objects of a collection are read again in vain before
// the rest waits for the next time.
const vainReads = 3

// reread looks whether what could not be read now can: the plugin that has its
// key is back, or the key came with a new configuration.
func (s *Store) reread(ctx context.Context) {
	for _, c := range *s.table.Load() {
		v := c.view.Load()
		if v == nil {
			continue
		}
		vain := 0
		var mended []*storage.Object
		for _, err := range v.corrupt {
			if o := c.readable(ctx, err); o != nil {
				mended = append(mended, o)
			} else if vain++; vain == vainReads {
				break
			}
		}
		if len(mended) > 0 {
			s.mend(c, mended)
		}
	}
}

// readable is the object that could not be read, if it can be and is the same
// still; what it became since comes by the feed.
func (c *collection) readable(ctx context.Context, err error) *storage.Object {
	var corrupt *storage.Corrupt
	if !errors.As(err, &corrupt) {
		return nil
	}
	e, _, err := c.store.kv.Get(ctx, corrupt.Key, 0)
	if err != nil || e == nil || e.Revision != corrupt.Revision {
		return nil
	}
	o, err := c.object(e.Key, e.Value, e.Revision)
	if err != nil {
		return nil
	}
	return o
}

func (s *Store) mend(c *collection, objects []*storage.Object) {
	s.following.Lock()
	defer s.following.Unlock()
	if c.loading || c.retired != nil {
		return
	}
	c.begin()
	for _, o := range objects {
		p := path(o.Namespace, o.Name)
		var corrupt *storage.Corrupt
		if !errors.As(c.next.corrupt[p], &corrupt) || corrupt.Revision != o.Revision {
			continue // it has changed in the meantime
		}
		c.next.setCorrupt(p, nil)
		c.replace(step{new: o})
		c.broken = true
		s.log.Info("a stored object is readable again", zap.String("key", corrupt.Key))
	}
	c.revision = s.progress.get()
	c.publish(time.Now())
	c.wake()
}
