package watchcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// List reads a snapshot.
func (c *collection) List(ctx context.Context, o storage.ListOptions) (*storage.List, error) {
	q := query{selector: newSelector(o.Selection), limit: o.Limit}
	q.from = key{namespace: q.Namespace}
	match, revision := o.Match, o.Revision
	if o.Continue != "" {
		var err error
		if q.from, revision, err = decodeContinue(o.Continue, q.Namespace, c.resource.Namespaced); err != nil {
			return nil, err
		}
		q.continued = true
		match = storage.Exact
		if revision == newest {
			match, revision = storage.Fresh, 0
		}
	}
	if match == storage.Exact {
		return c.listAt(ctx, q, revision)
	}
	err := c.reach(ctx, match, revision)
	if errors.Is(err, errBehind) {
		return c.listBelow(ctx, q, c.store.fenced(ctx))
	}
	if err != nil {
		return nil, err
	}
	if match == storage.Any {
		q.limit = 0 // as Kubernetes does
	}
	v, revision, err := c.settled(ctx, &q.selector)
	if err != nil {
		return nil, err
	}
	if q.limit > 0 {
		c.remember(revision, v.objects)
	}
	return c.page(v, q, revision)
}

// query is a list with its selection and place made ready.
type query struct {
	selector
	from      key
	limit     int64
	continued bool
}

// page takes the query's objects out of a view.
func (c *collection) page(v *view, q query, revision int64) (*storage.List, error) {
	for p, err := range v.corrupt {
		if q.Namespace == "" || strings.HasPrefix(p, q.Namespace+"/") {
			return nil, err
		}
	}
	l := &storage.List{Revision: revision}
	visit := func(o *storage.Object) bool {
		switch {
		case q.Namespace != "" && o.Namespace != q.Namespace:
			return false
		case !q.match(o):
			return true
		case q.limit > 0 && int64(len(l.Objects)) == q.limit:
			l.Continue = encodeContinue(q.Namespace, l.Objects[q.limit-1], revision)
			return false
		}
		l.Objects = append(l.Objects, o)
		return true
	}
	field, byField := "", false
	if c.index >= 0 && v.byField.root != nil {
		field, byField = q.equals(c.index)
	}
	switch {
	case q.Name != "" && (q.Namespace != "" || !c.resource.Namespaced):
		k := key{namespace: q.Namespace, name: q.Name}
		if o := v.objects.get(k); o != nil && k.compare(q.from) >= 0 {
			visit(o)
		}
	case byField:
		from := q.from
		from.field = field
		v.byField.ascend(from, func(o *storage.Object) bool {
			return o.Fields[c.index] == field && visit(o)
		})
	default:
		if !q.narrow() {
			n := v.objects.rank(q.end()) - v.objects.rank(q.from)
			if q.limit > 0 {
				n = min(n, int(q.limit))
			}
			l.Objects = make([]*storage.Object, 0, max(n, 0))
		}
		v.objects.ascend(q.from, visit)
		if l.Continue != "" && !q.narrow() {
			last := l.Objects[len(l.Objects)-1]
			rest := int64(v.objects.rank(q.end()) - v.objects.rank(v.objects.key(last)) - 1)
			l.Remaining = &rest
		}
	}
	return l, nil
}

// end is a key after all that the query's namespace holds.
func (q *query) end() key {
	if q.Namespace == "" {
		return key{field: "\xff"}
	}
	// '0' follows '/': no key of the namespace is greater.
	return key{name: q.Namespace + "0"}
}

// snapshot is a collection as it was at a revision.
type snapshot struct {
	revision int64
	objects  tree
	made     time.Time
}

// snapshots is how many are kept for the next pages of lists. They are only
// a short cut: each can be made again from the history.
const (
	snapshots    = 4
	snapshotTime = time.Minute
)

func (c *collection) remember(revision int64, objects tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.exact {
		if s.revision == revision {
			return
		}
	}
	if len(c.exact) == snapshots {
		copy(c.exact, c.exact[1:])
		c.exact = c.exact[:snapshots-1]
	}
	c.exact = append(c.exact, snapshot{revision, objects, time.Now()})
}

// listAt reads the state at one revision.
func (c *collection) listAt(ctx context.Context, q query, revision int64) (*storage.List, error) {
	if err := c.reach(ctx, storage.NotOlderThan, revision); err != nil && !errors.Is(err, errBehind) {
		return nil, err
	}
	if c.store.compacted(ctx, revision) {
		return nil, c.expired(q)
	}
	objects, ok := c.at(revision)
	if !ok {
		return c.listBelow(ctx, q, revision)
	}
	return c.page(&view{objects: objects}, q, revision)
}

// expired says that a list's revision is gone; of a page, with the token to
// go on at the newest revision.
func (c *collection) expired(q query) error {
	if !q.continued {
		return storage.ErrExpired
	}
	start := q.from.name
	if q.Namespace == "" {
		start = path(q.from.namespace, q.from.name)
	}
	return &storage.ExpiredContinue{Continue: encodeToken(start, newest)}
}

// at is the objects at a revision: now's with the later changes undone. False
// if the history does not reach back so far.
func (c *collection) at(revision int64) (tree, bool) {
	c.mu.Lock()
	v := c.view.Load()
	if v == nil || revision < c.history.since || len(v.corrupt) > 0 {
		c.mu.Unlock()
		return tree{}, false
	}
	if revision >= v.changed {
		c.mu.Unlock()
		return v.objects, true
	}
	for _, s := range c.exact {
		if s.revision == revision {
			c.mu.Unlock()
			return s.objects, true
		}
	}
	undo := append([]*link(nil), c.history.live()[c.history.after(revision):]...)
	c.mu.Unlock()
	t := v.objects
	w := new(owner)
	for i := len(undo) - 1; i >= 0; i-- {
		for j := len(undo[i].changes) - 1; j >= 0; j-- {
			ch := &undo[i].changes[j]
			if ch.old != nil {
				t = t.put(w, ch.old)
			} else {
				t = t.remove(w, t.key(ch.new))
			}
		}
	}
	c.remember(revision, t)
	return t, true
}

// belowPage is how many objects are read from the store below at a time.
const belowPage = 500

// listBelow reads from the store below, at a revision or (0) the newest.
func (c *collection) listBelow(ctx context.Context, q query, revision int64) (*storage.List, error) {
	prefix := c.prefix
	if q.Namespace != "" {
		prefix += q.Namespace + "/"
	}
	l := &storage.List{}
	from := c.prefix + path(q.from.namespace, q.from.name)
	if q.from.name == "" {
		from = prefix
	}
	for {
		page, err := c.store.kv.Range(ctx, kv.Range{Prefix: prefix, From: from, Limit: belowPage, Revision: revision})
		if err != nil {
			err = c.readError(err, revision, 0)
			if errors.Is(err, storage.ErrExpired) {
				return nil, c.expired(q)
			}
			return nil, fmt.Errorf("list %s: %w", c.resource.Plural, err)
		}
		if revision == 0 {
			revision = page.Revision
		}
		l.Revision = revision
		for i, e := range page.Entries {
			o, err := c.object(e.Key, e.Value, e.Revision)
			if err != nil {
				return nil, &storage.Corrupt{Key: e.Key, Revision: e.Revision, Err: err}
			}
			if !q.match(o) {
				continue
			}
			if q.limit > 0 && int64(len(l.Objects)) == q.limit {
				l.Continue = encodeContinue(q.Namespace, l.Objects[q.limit-1], revision)
				if !q.narrow() {
					rest := page.Count - int64(i)
					l.Remaining = &rest
				}
				return l, nil
			}
			l.Objects = append(l.Objects, o)
		}
		if !page.More || len(page.Entries) == 0 {
			return l, nil
		}
		from = page.Entries[len(page.Entries)-1].Key + "\x00"
	}
}
