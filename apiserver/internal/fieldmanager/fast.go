package fieldmanager

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// maxUpdaters is how many entries of updates an object keeps; the library
// folds the oldest of more into one.
const maxUpdaters = 10

// unowned are fields that never have owners. They are paths of the top levels.
var unowned = []string{
	"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
	"metadata.uid", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
}

// endpoint is the walk that serves updates of one resource or subresource.
type endpoint struct {
	// plan is nil when only the library can serve it. It leaves out what this
	// endpoint resets; whole does not.
	plan, whole *plan
	// empty is the object that a create is compared with.
	empty operand
}

// endpoint compiles the plan of an endpoint when it is first used.
func (m *Manager) endpoint(subresource string) *endpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.endpoints[subresource]; ok {
		return e
	}
	e := m.compile(subresource)
	m.endpoints[subresource] = e
	return e
}

func (m *Manager) compile(subresource string) *endpoint {
	e := &endpoint{}
	resets := resetPaths(m.served.Resource, subresource)
	if isResize(m.served.Resource, subresource) || slices.ContainsFunc(resets, func(p string) bool { return strings.Count(p, ".") > 1 }) {
		return e
	}
	empty := m.conv.newAt(m.served.At)
	whole, err := m.types.plan(m.kind(), reflect.TypeOf(empty))
	if err != nil {
		return e
	}
	return &endpoint{
		whole: whole, empty: operand{present, reflect.ValueOf(empty).Elem()},
		plan: whole.without(func(path string) bool { return slices.Contains(unowned, path) || slices.Contains(resets, path) }),
	}
}

// identifier is an updater's entry at this endpoint.
func (m *Manager) identifier(name, subresource string) manager {
	if name == "" {
		name = "unknown"
	}
	return manager{name: name, version: m.kind().GroupVersion().String(), subresource: subresource, operation: metav1.ManagedFieldsOperationUpdate}
}

// createFast sets the managedFields of a new object; false when only the
// library can.
func (m *Manager) createFast(obj scheme.Object, name string, now time.Time) bool {
	e := m.endpoint("")
	given := obj.GetManagedFields()
	if e.plan == nil || len(given) > 0 && !isReset(given) {
		return false
	}
	versioned, ok := m.operand(obj)
	if !ok {
		return false
	}
	w := newWalker()
	defer w.release()
	fields, some := w.emitChanged(w.fields[:0], e.plan, e.empty, versioned)
	w.fields = fields
	switch {
	case w.lost:
		return false
	case some:
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{newEntry(m.identifier(name, ""), fields, now)})
	default:
		obj.SetManagedFields(nil)
	}
	return true
}

// operand is an object at the version that is served.
func (m *Manager) operand(obj runtime.Object) (operand, bool) {
	if m.served.At.New != nil {
		var err error
		if obj, err = m.conv.ConvertToVersion(obj, m.kind().GroupVersion()); err != nil {
			return operand{}, false
		}
	}
	return operand{present, reflect.ValueOf(obj).Elem()}, true
}

// isReset is how a client clears managedFields: an empty list, or a list of
// one empty entry.
func isReset(entries []metav1.ManagedFieldsEntry) bool {
	switch len(entries) {
	case 0:
		return entries != nil
	case 1:
		return entries[0] == metav1.ManagedFieldsEntry{}
	}
	return false
}

func (w *walker) newEntry(id manager, fields *node, now time.Time) metav1.ManagedFieldsEntry {
	w.fields = fields.appendFields(w.fields[:0])
	return newEntry(id, w.fields, now)
}

func newEntry(id manager, fields []byte, now time.Time) metav1.ManagedFieldsEntry {
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	f := &metav1.FieldsV1{}
	f.SetRawBytes(fields)
	return metav1.ManagedFieldsEntry{
		Manager: id.name, Operation: id.operation, APIVersion: id.version, Subresource: id.subresource,
		Time: &at, FieldsType: "FieldsV1", FieldsV1: f,
	}
}

func (w *walker) fieldsV1(n *node) *metav1.FieldsV1 {
	w.fields = n.appendFields(w.fields[:0])
	f := &metav1.FieldsV1{}
	f.SetRawBytes(w.fields)
	return f
}

// updateFast sets the managedFields of an update; false when only the library
// can.
func (m *Manager) updateFast(live, obj scheme.Object, name, subresource string, now time.Time) bool {
	e := m.endpoint(subresource)
	if e.plan == nil {
		return false
	}
	before, given := live.GetManagedFields(), obj.GetManagedFields()
	if subresource == "" && given != nil {
		if isReset(given) {
			return false
		}
		if !sameEntries(before, given) {
			return false
		}
	}
	if len(before) == 0 {
		if live.GetUID() == "" {
			return false
		}
		// Ownership is not tracked before the first apply.
		obj.SetManagedFields(nil)
		return true
	}
	id := m.identifier(name, subresource)
	if !updatable(before, id) {
		return false
	}
	l, okL := m.operand(live)
	r, okR := m.operand(obj)
	if !okL || !okR {
		return false
	}
	w := newWalker()
	defer w.release()
	changed, removed := w.diff(e.plan, l, r)
	if w.lost {
		return false
	}
	after, ok := w.update(e.whole, before, &changed, &removed, id, now)
	if ok {
		obj.SetManagedFields(after)
	}
	return ok
}

// sameEntries compares what a client sent back with what it was given.
func sameEntries(a, b []metav1.ManagedFieldsEntry) bool {
	return sameTimes(a, b) && sameButTimes(a, b)
}

// updatable reports whether entries are ones that need no conversion between
// versions and will not be folded.
func updatable(entries []metav1.ManagedFieldsEntry, self manager) bool {
	updaters, own := 0, 0
	for i := range entries {
		e := &entries[i]
		if e.APIVersion != self.version || e.FieldsType != "FieldsV1" || len(rawFields(e)) == 0 {
			return false
		}
		for j := range i {
			if identity(&entries[j]) == identity(e) {
				return false
			}
		}
		switch e.Operation {
		case metav1.ManagedFieldsOperationUpdate:
			updaters++
		case metav1.ManagedFieldsOperationApply:
		default:
			return false
		}
		if identity(e) == self {
			own = 1
		}
	}
	return updaters-own+1 <= maxUpdaters
}

// mentions is false when fields have nothing in common with a set, going by
// its first steps.
func mentions(raw []byte, s *node) bool {
	for i := range s.children {
		if bytes.Contains(raw, []byte(s.children[i].element)) {
			return true
		}
	}
	return false
}

// update gives the entries after a change: what changed goes from all others
// to the manager, what was removed goes from all. False when an entry is not
// as we would have written it, or of a schema that has since changed.
func (w *walker) update(p *plan, before []metav1.ManagedFieldsEntry, changed, removed *node, self manager, now time.Time) ([]metav1.ManagedFieldsEntry, bool) {
	if changed.empty() && removed.empty() {
		return before, true
	}
	after := make([]metav1.ManagedFieldsEntry, 0, len(before)+1)
	own := node{}
	for i := range before {
		e := before[i]
		if identity(&e) != self && !mentions(rawFields(&e), changed) && !mentions(rawFields(&e), removed) {
			after = append(after, e)
			continue
		}
		fields, err := w.parseFields(rawFields(&e))
		if err != nil || !p.fits(&fields) {
			return nil, false
		}
		if identity(&e) == self && !changed.empty() {
			own = w.subtract(&fields, removed)
			continue
		}
		if fields.meets(changed) || fields.meets(removed) {
			if fields = w.subtract(&fields, changed); fields.empty() {
				continue
			}
			if fields = w.subtract(&fields, removed); fields.empty() {
				continue
			}
			e.FieldsV1 = w.fieldsV1(&fields)
		}
		after = append(after, e)
	}
	if !changed.empty() {
		own = w.union(&own, changed)
		after = append(after, w.newEntry(self, &own, now))
	}
	sortEntries(after)
	if len(after) == 0 {
		return nil, true
	}
	return after, true
}
