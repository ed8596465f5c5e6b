// Package kv is what the watch cache asks of the store below it: a map of
// keys to bytes with one revision for everything, compare-and-swap, and a feed
// of changes. etcd is one; package memory is another for tests.
//
// Keys are relative to the store's prefix: "pods/default/web".
package kv

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Anything as Write.Compare writes without comparing.
const Anything int64 = -1

// FenceKey is written to make a revision later than a grouped one. It has no
// second segment, which every object's key has, so no API server takes it for
// an object. It lies within the prefix so that the feed reports it at once.
const FenceKey = "xebec-fence"

var (
	// ErrFuture means the asked revision does not exist yet.
	ErrFuture = errors.New("revision is in the future")
	// ErrTooLarge means the store refuses a request of this size; nothing was
	// written.
	ErrTooLarge = errors.New("request is too large")
	// ErrNoSpace means the store's quota is used up; nothing was written unless
	// the error is storage.ErrUnknown too.
	ErrNoSpace = errors.New("the database has no space left")
	// ErrUnavailable means nothing was written because the store did not take
	// the request.
	ErrUnavailable = errors.New("the database is not available")
)

// Compacted means the history at the asked revision is gone.
type Compacted struct {
	// Revision is the oldest that is left, 0 when not known.
	Revision int64
}

func (e *Compacted) Error() string {
	return fmt.Sprintf("history before revision %d is compacted", e.Revision)
}

// Entry is a key's value and the revision that wrote it.
type Entry struct {
	Key      string
	Value    []byte
	Revision int64
}

// Range asks for the keys that begin with Prefix, in order.
type Range struct {
	Prefix string
	// From, when set, is the first key wanted.
	From string
	// Limit is the greatest number of entries, 0 for all.
	Limit int64
	// Revision is 0 for the newest state.
	Revision int64
	// CountOnly returns no entries.
	CountOnly bool
}

// Page is the answer to a Range.
type Page struct {
	Entries []Entry
	// Revision of the state that was read.
	Revision int64
	More     bool
	// Count is the number of keys from From on, whatever the limit.
	Count int64
}

// Write puts or deletes one key if its revision is as compared.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
	// Compare is the revision the key must have: 0 for absent, or Anything.
	Compare int64
	// TTL removes the key after at least this long.
	TTL time.Duration
}

// Result is one Write's: done, or what stands in its way.
type Result struct {
	Done bool
	// Current is the key's entry when not Done, nil if it is absent.
	Current *Entry
}

// Event is one change.
type Event struct {
	Key      string
	Value    []byte
	Delete   bool
	Revision int64
}

// Past is an event and what the key held before it; nil if it was absent.
type Past struct {
	Event
	Before *Entry
}

// Batch is whole revisions, in order. After it the feed has told everything
// up to Revision.
type Batch struct {
	Events   []Event
	Revision int64
}

// Feed is a stream of changes.
type Feed interface {
	// Recv waits for the next batch, whose values are good until the next call.
	// Batches without events report progress.
	// Errors: *Compacted; anything else means that the stream broke and can
	// be resumed.
	Recv() (Batch, error)
	// RequestProgress asks for a batch that says how far the feed has come.
	RequestProgress() error
	Close()
}

// Store is such a map.
type Store interface {
	// Prefix is what the store puts before every key.
	Prefix() string
	// Get reads one key at a revision (0: newest, linearizable); the entry is
	// nil if it is absent. The second result is the store's revision.
	Get(ctx context.Context, key string, revision int64) (*Entry, int64, error)
	Range(ctx context.Context, r Range) (*Page, error)
	// Apply does independent writes of different keys in one transaction:
	// each is done or refused by its own comparison. The revision is that of
	// all writes done. storage.ErrUnknown when they may or may not have
	// happened.
	Apply(ctx context.Context, writes []Write) (revision int64, results []Result, err error)
	// Watch starts a feed of everything after a revision.
	Watch(ctx context.Context, after int64) (Feed, error)
	// History is what happened to the keys with a prefix after a revision and
	// up to another, whole revisions in order. Errors: *Compacted;
	// ErrTooLarge when there are more than so many bytes.
	History(ctx context.Context, prefix string, after, upTo int64, bytes int) ([]Past, error)
	// Revision is the newest revision, linearizable.
	Revision(ctx context.Context) (int64, error)
}

// Scanner is a Store that tells a long range without being asked for each page.
type Scanner interface {
	// Scan gives each the entries of a range in order, in pieces, whatever the
	// limit. After an error, what it gave holds and pages may go on from
	// there.
	Scan(ctx context.Context, r Range, each func(*Page)) error
}

// Local is a Store that knows its newest revision without asking anybody.
type Local interface {
	// LocalRevision is linearizable if ok.
	LocalRevision() (revision int64, ok bool)
}

// Prolonger is a Store whose keys can be kept beyond their TTL without being
// written.
type Prolonger interface {
	// Prolong begins the TTL of a key anew that has this revision; false if
	// there is no such key with one.
	Prolong(ctx context.Context, key string, revision int64) (bool, error)
}
