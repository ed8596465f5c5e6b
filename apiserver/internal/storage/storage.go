// Package storage is the boundary between the registry and what keeps the
// objects: the watch cache for reads, etcd for writes.
//
// Objects travel as the bytes they are stored in. Nothing on the read path
// decodes them into structs.
package storage

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/api/scheme"
)

// Object is one version of one stored object. It is immutable and shared
// between readers; Labels and Fields may alias Raw.
type Object struct {
	Namespace string
	Name      string
	UID       string
	// Revision is the etcd revision that wrote this version: its resourceVersion.
	Revision int64
	// Raw is the protobuf message of the storage type without the k8s\0
	// envelope and without a resourceVersion; for custom resources, JSON.
	Raw []byte
	// Labels are the object's labels.
	Labels Labels
	// Fields are the values of the resource's selectable fields, in the order
	// of scheme.Resource.Fields.
	Fields []string
	// Stale means that the stored form is not the one that a write would
	// give it now (another encryption key, version or encoding): an update
	// is to be written even if it changes nothing.
	Stale bool
}

// Labels are label pairs in order of their keys: key, value, key, value. They
// satisfy labels.Labels.
type Labels []string

// Get is the value of a label, "" when it is absent.
func (l Labels) Get(key string) string { v, _ := l.Lookup(key); return v }

// Has reports whether the label is present.
func (l Labels) Has(key string) bool { _, ok := l.Lookup(key); return ok }

// Lookup is the value of a label and whether it is present.
func (l Labels) Lookup(key string) (string, bool) {
	for i := 0; i+1 < len(l); i += 2 {
		if l[i] == key {
			return l[i+1], true
		}
	}
	return "", false
}

// Match says how a read's Revision is meant.
type Match int

const (
	// Fresh reads see every write that completed before they began
	// (no resourceVersion given).
	Fresh Match = iota
	// Any reads take what the cache has (resourceVersion 0).
	Any
	// NotOlderThan reads wait until the cache has reached Revision.
	NotOlderThan
	// Exact reads see the state at Revision, or Expired.
	Exact
)

// Selection narrows a list or watch. Zero fields select everything.
type Selection struct {
	Namespace string
	// Name, when set, selects one object (a metadata.name field selector or a
	// named watch).
	Name   string
	Labels labels.Selector
	// Fields are requirements on Object.Fields.
	Fields []FieldRequirement
}

// FieldRequirement compares one selectable field.
type FieldRequirement struct {
	// Index into scheme.Resource.Fields; IndexName and IndexNamespace for metadata.
	Index int
	Value string
	// Not selects objects whose value differs.
	Not bool
}

// Indexes of the metadata fields in a FieldRequirement.
const (
	IndexName      = -1
	IndexNamespace = -2
)

// ListOptions say what to list.
type ListOptions struct {
	Selection
	Match    Match
	Revision int64
	// Limit is the greatest number of objects returned; 0 is all of them.
	Limit int64
	// Continue is the token of the page before.
	Continue string
}

// List is a snapshot at one revision, ordered by namespace and name.
type List struct {
	Objects  []*Object
	Revision int64
	// Continue is the token for the next page, "" at the end.
	Continue string
	// Remaining is the number of objects after this page, nil when unknown
	// (a selector was given) or at the end.
	Remaining *int64
}

// WatchOptions say what to watch.
type WatchOptions struct {
	Selection
	// Revision is where to start: events after it are delivered. 0 with
	// Fresh or Any starts with the current objects as Added events.
	Revision int64
	Match    Match
	// InitialEvents is the sendInitialEvents option: current objects first,
	// then a bookmark marked InitialEventsEnd, then changes.
	InitialEvents bool
	// Complete says that the client has seen all of Revision: it was told
	// whole revisions at a time. Without it, a watch from a revision that
	// changed several of the selected objects delivers that revision again,
	// since the client may have seen a part of it.
	Complete bool
	// Bookmarks asks for a bookmark about once a minute and before the end.
	Bookmarks bool
}

// EventType is what happened to an object, seen through a selection.
type EventType uint8

const (
	Added EventType = iota
	Modified
	Deleted
	Bookmark
)

func (t EventType) String() string {
	return [...]string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}[t]
}

// Event is one change as a watcher sees it.
type Event struct {
	Type EventType
	// Object is the new state; for Deleted the last state the watcher could
	// see. Nil for a Bookmark.
	Object *Object
	// Old is the state before; set for Modified alone.
	Old *Object
	// Revision is the change's, and the resourceVersion to show: for Deleted
	// it is later than Object.Revision.
	Revision int64
	// InitialEventsEnd marks the bookmark after the initial events.
	InitialEventsEnd bool
	// Memo keeps encodings of this event that all watchers share; nil when
	// there is nothing to share.
	Memo *Memo
}

// Watcher is a cursor into the revision ring of one resource. It is for one
// goroutine; it cannot block the writer or another watcher.
type Watcher interface {
	// Next waits for events and returns what there is, whole revisions at a
	// time, at most a few hundred. The slice is valid until the next call.
	// Errors: Expired when the cursor was overwritten; ctx's; ErrClosed when
	// the store shuts down.
	Next(ctx context.Context) ([]Event, error)
	// Revision is how far the watcher is known to be complete.
	Revision() int64
	Close()
}

// Poller is a Watcher that one goroutine can serve beside many others, since it
// need not wait in Next. Poll and Next are not mixed.
type Poller interface {
	Watcher
	// Poll is Next without waiting; there may be nothing.
	Poll(ctx context.Context) ([]Event, error)
	// Due is when to poll again though the topic was silent; zero is never.
	Due() time.Time
	// Topic is rung when there may be something; watchers may share one.
	Topic() Topic
}

// Alarm is rung by a Topic; Ring does not block.
type Alarm = interface{ Ring() }

// Topic has news now and then. Join before the first Poll, so that none is missed.
type Topic interface {
	Join(a Alarm)
	Leave(a Alarm)
}

// Collection is the objects of one resource.
type Collection interface {
	// Get reads one object. Errors: NotFound; TooLargeRevision; ctx's.
	Get(ctx context.Context, namespace, name string, match Match, revision int64) (*Object, error)
	// List reads a snapshot. Errors: Expired, TooLargeRevision,
	// InvalidContinue; ctx's.
	List(ctx context.Context, o ListOptions) (*List, error)
	// Watch starts a cursor. Errors: Expired, TooLargeRevision; ctx's.
	Watch(ctx context.Context, o WatchOptions) (Watcher, error)
	// Create stores a new object. Errors: *Exists; ErrUnknown wrapped when
	// the outcome is not known; ctx's.
	Create(ctx context.Context, namespace, name string, raw []byte, ttl time.Duration) (*Object, error)
	// Update replaces old, compared by revision. Errors: *Conflict with the
	// current object (nil if it is gone).
	Update(ctx context.Context, old *Object, raw []byte, ttl time.Duration) (*Object, error)
	// Delete removes old, compared by revision, and returns the revision of
	// the removal. Errors as Update.
	Delete(ctx context.Context, old *Object) (int64, error)
	// Newest is the cached version without waiting; nil if there is none.
	// For optimistic updates: a stale one only costs a Conflict.
	Newest(namespace, name string) *Object
	// Count is the number of cached objects.
	Count() int
	// Changed is the revision of the newest change in the cache; it rises
	// whenever anything in the collection does.
	Changed() int64
}

// Store is all collections over one etcd.
type Store interface {
	// Collection gives a resource's objects; the same one for each call.
	Collection(r *scheme.Resource) Collection
	// Ready is nil once every cache has its objects and etcd answers.
	Ready(ctx context.Context) error
	// CurrentRevision is etcd's revision now, linearizable.
	CurrentRevision(ctx context.Context) (int64, error)
}

// Reader is how admission, authorization and other parts that need cluster
// state read it: from the cache, decoded once per revision. Results are
// shared: read-only.
type Reader interface {
	// Get is the newest cached object.
	Get(r *scheme.Resource, namespace, name string) (scheme.Object, bool)
	// List is every object of a namespace ("" is all), in order.
	List(r *scheme.Resource, namespace string) []scheme.Object
	// ListByField is the objects whose selectable field has the value; fast
	// for pods by spec.nodeName.
	ListByField(r *scheme.Resource, label, value string) []scheme.Object
	// Changed rises whenever anything in the resource changes; derived
	// indexes compare it to know that they are current.
	Changed(r *scheme.Resource) int64
}
