package watchcache

import "xebec.dev/apiserver/internal/storage"

// selector is a Selection made ready for matching.
type selector struct {
	storage.Selection
	all bool
}

func newSelector(s storage.Selection) selector {
	if s.Labels != nil && s.Labels.Empty() {
		s.Labels = nil
	}
	return selector{s, s.Namespace == "" && s.Name == "" && s.Labels == nil && len(s.Fields) == 0}
}

// narrow reports whether more than the namespace narrows the selection.
func (s *selector) narrow() bool { return s.Name != "" || s.Labels != nil || len(s.Fields) > 0 }

func (s *selector) match(o *storage.Object) bool {
	if s.all {
		return true
	}
	if s.Namespace != "" && o.Namespace != s.Namespace || s.Name != "" && o.Name != s.Name {
		return false
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		if (fieldValue(o, f.Index) == f.Value) == f.Not {
			return false
		}
	}
	return s.Labels == nil || s.Labels.Matches(&o.Labels)
}

func fieldValue(o *storage.Object, index int) string {
	switch index {
	case storage.IndexName:
		return o.Name
	case storage.IndexNamespace:
		return o.Namespace
	}
	return o.Fields[index]
}

// equals finds the value that a field must have, if the selection says so.
func (s *selector) equals(index int) (string, bool) {
	for i := range s.Fields {
		if f := &s.Fields[i]; f.Index == index && !f.Not {
			return f.Value, true
		}
	}
	return "", false
}

// see is what a change looks like through the selection; ok is false when it
// is not visible at all.
func (s *selector) see(c *change) (t storage.EventType, o *storage.Object, ok bool) {
	before := c.old != nil && s.match(c.old)
	after := c.new != nil && s.match(c.new)
	switch {
	case before && after:
		return storage.Modified, c.new, true
	case after:
		return storage.Added, c.new, true
	case before:
		return storage.Deleted, c.old, true
	}
	return 0, nil, false
}

// several reports whether at least two changes of a revision are visible.
// Only then a client that resumes at this revision may have seen a part of it.
func (s *selector) several(l *link) bool {
	if l == nil || len(l.changes) < 2 {
		return false
	}
	n := 0
	for i := range l.changes {
		if _, _, ok := s.see(&l.changes[i]); ok {
			n++
		}
	}
	return n > 1
}

// bucket names a part of a collection's changes that watchers wait for, so
// that a change wakes only those that can see it.
type bucket struct {
	kind bucketKind
	// a, b: namespace and name, or namespace, or the indexed field's value.
	a, b string
}

type bucketKind uint8

const (
	everything bucketKind = iota
	oneObject
	oneNamespace
	indexed
)

// bucketOf is the smallest bucket that holds all a selection can see.
func (s *selector) bucketOf(namespaced bool, index int) bucket {
	if s.Name != "" && (s.Namespace != "" || !namespaced) {
		return bucket{oneObject, s.Namespace, s.Name}
	}
	if index >= 0 {
		if v, ok := s.equals(index); ok {
			return bucket{indexed, v, ""}
		}
	}
	if s.Namespace != "" {
		return bucket{oneNamespace, s.Namespace, ""}
	}
	return bucket{}
}

// bucketsOf visits the buckets that an object is in, except everything.
func bucketsOf(o *storage.Object, index int, visit func(bucket)) {
	visit(bucket{oneObject, o.Namespace, o.Name})
	visit(bucket{oneNamespace, o.Namespace, ""})
	if index >= 0 {
		visit(bucket{indexed, o.Fields[index], ""})
	}
}
