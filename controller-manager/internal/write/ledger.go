package write

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
)

// Ledger remembers, by key of the object being reconciled, what was written
// for it and is not yet in the replica of what was written. While there is
// something, deciding again would repeat it: create pods twice, delete others
// in their place. Revisions make that exact where counting would guess.
type Ledger[T scheme.Object] struct {
	seen *cache.Replica[T]

	mu   sync.Mutex
	keys map[cache.Key]*unseen // guarded by mu
}

// unseen is what the replica must show before the next decision.
type unseen struct {
	revision int64
	// gone are objects that were deleted: not there any more, or marked.
	gone map[types.UID]cache.Key
	// unknown is set while it is not known whether a write has happened.
	unknown bool
}

// NewLedger makes a ledger of writes to the objects of a replica.
func NewLedger[T scheme.Object](seen *cache.Replica[T]) *Ledger[T] {
	return &Ledger[T]{seen: seen, keys: map[cache.Key]*unseen{}}
}

func (l *Ledger[T]) of(key cache.Key) *unseen {
	u := l.keys[key]
	if u == nil {
		u = &unseen{}
		l.keys[key] = u
	}
	return u
}

// Wrote notes the results of creates, updates and patches.
func (l *Ledger[T]) Wrote(key cache.Key, results ...client.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range results {
		switch r := &results[i]; {
		case r.Err == nil:
			u := l.of(key)
			u.revision = max(u.revision, r.Response.GetObject().GetRevision())
		case errors.Is(r.Err, client.ErrOutcomeUnknown):
			l.of(key).unknown = true
		}
	}
}

// Deleted notes that an object was deleted. Call it when the deletion went
// well, or its outcome is unknown.
func (l *Ledger[T]) Deleted(key cache.Key, obj T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(key)
	if u.gone == nil {
		u.gone = map[types.UID]cache.Key{}
	}
	u.gone[obj.GetUID()] = cache.KeyOf(obj)
}

// Forget drops what is known of a key whose object is gone.
func (l *Ledger[T]) Forget(key cache.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, key)
}

// Settled reports whether the replica shows all that was written for a key.
// While it does not, the change that is missing will come, and with it the
// next look; callers add a look after a while for safety's sake.
func (l *Ledger[T]) Settled(ctx context.Context, w *Writer, key cache.Key) (bool, error) {
	l.mu.Lock()
	u := l.keys[key]
	unknown := u != nil && u.unknown
	l.mu.Unlock()
	if u == nil {
		return true, nil
	}
	if unknown {
		if err := l.resolve(ctx, w, key); err != nil {
			return false, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if u = l.keys[key]; u == nil {
		return true, nil
	}
	now := l.seen.Snapshot()
	if now.Revision() < u.revision {
		return false, nil
	}
	for uid, k := range u.gone {
		if obj, ok := now.Lookup(k); ok && obj.GetUID() == uid && obj.GetDeletionTimestamp() == nil {
			return false, nil
		}
		delete(u.gone, uid)
	}
	delete(l.keys, key)
	return true, nil
}

// resolve replaces doubt by a revision that is newer than the write, had it
// happened.
func (l *Ledger[T]) resolve(ctx context.Context, w *Writer, key cache.Key) error {
	_, revision, err := client.List[T](ctx, w.Client, client.Selection{Namespace: key.Namespace}, client.ReadOptions{MetadataOnly: true})
	if err != nil {
		return fmt.Errorf("look whether earlier writes for %s have happened: %w", key, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(key)
	u.revision, u.unknown = max(u.revision, revision), false
	// A deletion in doubt is decided again from what is seen then.
	u.gone = nil
	return nil
}

// Book is a ledger of any type.
type Book interface {
	Settled(ctx context.Context, w *Writer, key cache.Key) (bool, error)
	Forget(key cache.Key)
}

// Settled reports whether all that was written for a key shows, in each of the
// books.
func Settled(ctx context.Context, w *Writer, key cache.Key, books ...Book) (bool, error) {
	for _, b := range books {
		if ok, err := b.Settled(ctx, w, key); err != nil || !ok {
			return ok, err
		}
	}
	return true, nil
}

// Forget drops a key whose object is gone from the books.
func Forget(key cache.Key, books ...Book) {
	for _, b := range books {
		b.Forget(key)
	}
}
