// Package fieldmanager keeps metadata.managedFields, who set which field, and
// carries out server-side apply.
//
// The rules are Kubernetes': the merge library does applies and whatever is
// unusual; creates and plain updates, the hot path, are computed by a walk
// over the Go structs and must come out byte for byte the same.
package fieldmanager

import (
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"xebec.dev/api/scheme"
)

// Manager keeps the managedFields of one resource at one of its versions. It
// is safe for concurrent use.
type Manager struct {
	served scheme.Served
	types  *Types
	conv   converter

	// mu guards the maps, which are filled as subresources are used.
	mu        sync.Mutex
	fallback  map[string]*managedfields.FieldManager
	endpoints map[string]*endpoint
}

// New makes the manager of a resource at a served version.
func New(served scheme.Served, types *Types) *Manager {
	return &Manager{
		served: served, types: types, conv: converter{served.Resource},
		fallback: map[string]*managedfields.FieldManager{}, endpoints: map[string]*endpoint{},
	}
}

func (m *Manager) kind() schema.GroupVersionKind { return m.conv.kind(m.served.At) }

// lib is the merge library set up for the resource or one subresource.
func (m *Manager) lib(subresource string) (*managedfields.FieldManager, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.fallback[subresource]; ok {
		return f, nil
	}
	hubVersion := schema.GroupVersion{Group: m.served.Group, Version: hub}
	f, err := managedfields.NewDefaultFieldManager(m.types, m.conv, m.conv, m.conv, m.kind(), hubVersion, subresource, resetFilters(m.served.Resource, subresource))
	if err != nil {
		return nil, err
	}
	m.fallback[subresource] = f
	return f, nil
}

// Create sets the managedFields of a new object.
func (m *Manager) Create(obj scheme.Object, manager string, now time.Time) error {
	if m.createFast(obj, manager, now) {
		return nil
	}
	empty, err := m.conv.New(m.kind())
	if err != nil {
		return err
	}
	return m.update(empty, obj, manager, "", now)
}

// Update sets the managedFields of obj, which is to replace live: fields that
// obj changes become the manager's. When nothing changes, neither do times.
// Fields that an update of this endpoint cannot change are not counted.
//
// It never fails for what a request contains: managedFields that cannot be
// brought up to date stay as they were.
func (m *Manager) Update(live, obj scheme.Object, manager, subresource string, now time.Time) error {
	if m.updateFast(live, obj, manager, subresource, now) {
		return nil
	}
	return m.update(live, obj, manager, subresource, now)
}

// update is the library's way.
func (m *Manager) update(live runtime.Object, obj scheme.Object, manager, subresource string, now time.Time) error {
	lib, err := m.lib(subresource)
	if err != nil {
		return err
	}
	before := live.(metav1.Object).GetManagedFields()
	given, start := obj.GetManagedFields(), time.Now()
	if _, err := lib.Update(live, obj, manager); err != nil {
		obj.SetManagedFields(before)
		return nil
	}
	stamp(obj, slices.Concat(before, given), start, now)
	return nil
}

// Apply merges an applied configuration, YAML or JSON, into the live object,
// which it does not change. Without a live object (nil) the result is new.
// The result is defaulted; when the apply changes nothing it equals live.
// Errors are statuses, or plain errors that are to be a 500.
func (m *Manager) Apply(live scheme.Object, patch []byte, manager string, force bool, subresource string, now time.Time) (scheme.Object, error) {
	config, err := configuration(patch)
	if err != nil {
		return nil, err
	}
	lib, err := m.lib(subresource)
	if err != nil {
		return nil, err
	}
	var base runtime.Object = live
	if live == nil {
		if base, err = m.conv.New(m.kind()); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	merged, err := lib.Apply(base, config, manager, force)
	if err != nil {
		return nil, err
	}
	stored, err := m.conv.toHub(merged)
	if err != nil {
		return nil, err
	}
	obj := stored.(scheme.Object)
	if m.served.At.New != nil && m.served.Strategy.Default != nil {
		m.served.Strategy.Default(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(m.served.GroupVersionKind())
	stamp(obj, base.(metav1.Object).GetManagedFields(), start, now)
	if live != nil {
		KeepTimes(live, obj)
	}
	return obj, nil
}

// stamp gives the entries that the library has dated, since start by the
// clock, the request's time. Other entries have times that were there before,
// if under other names where the oldest were folded into one.
func stamp(obj metav1.Object, before []metav1.ManagedFieldsEntry, start, now time.Time) {
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	entries := obj.GetManagedFields()
	for i := range entries {
		e := &entries[i]
		was := func(b metav1.ManagedFieldsEntry) bool { return seconds(b.Time) == seconds(e.Time) }
		if seconds(e.Time) >= start.Unix() && !slices.ContainsFunc(before, was) {
			e.Time = &at
		}
	}
	sortEntries(entries)
	obj.SetManagedFields(entries)
}
