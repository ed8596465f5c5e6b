package storage

import (
	"errors"
	"fmt"
)

// Errors of reads.
var (
	ErrNotFound = errors.New("not found")
	// ErrExpired is 410: the revision is compacted or no longer in the ring.
	ErrExpired = errors.New("too old resource version")
	// ErrInvalidContinue is 400: the token is not one of ours.
	ErrInvalidContinue = errors.New("continue key is not valid")
	// ErrUnknown is a write whose outcome is not known: it may have happened.
	ErrUnknown = errors.New("outcome unknown")
	ErrClosed  = errors.New("the store is shutting down")
)

// Exists is returned by Create; Object is what is there.
type Exists struct{ Object *Object }

func (e *Exists) Error() string { return "already exists" }

// Conflict is returned by Update and Delete when the object is no longer the
// version that was compared.
type Conflict struct {
	// Current is what is there now, nil if the object is gone.
	Current *Object
}

func (e *Conflict) Error() string { return "the object has been modified" }

// ExpiredContinue is ErrExpired for a page of a list, with a token that goes
// on from the same place at the newest revision.
type ExpiredContinue struct{ Continue string }

func (e *ExpiredContinue) Error() string { return "the provided continue parameter is too old" }
func (e *ExpiredContinue) Unwrap() error { return ErrExpired }

// TooLargeRevision means the cache did not reach the revision in time; the
// client should retry after a second.
type TooLargeRevision struct{ Requested, Current int64 }

func (e *TooLargeRevision) Error() string {
	return fmt.Sprintf("Too large resource version: %d, current: %d", e.Requested, e.Current)
}

// Corrupt means that an object's stored bytes cannot be read. It can still be
// deleted, by an Object with its names and this Revision.
type Corrupt struct {
	Key      string
	Revision int64
	Err      error
}

func (e *Corrupt) Error() string {
	return fmt.Sprintf("the stored object %q is corrupt: %v", e.Key, e.Err)
}
func (e *Corrupt) Unwrap() error { return e.Err }
