// Package reload keeps a value parsed from files current without a goroutine:
// whoever uses the value looks at the files now and then.
package reload

import (
	"bytes"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Interval is how often files are looked at, at most: what an administrator
// changes should take effect while he looks on. It is one small read.
const Interval = time.Second

// File is a value parsed from a file. It is safe for concurrent use.
type File[T any] struct {
	path    string
	parse   func([]byte) (T, error)
	onError func(error)

	now     func() time.Time
	every   time.Duration
	current atomic.Pointer[T]
	// version counts the values there have been.
	version atomic.Int64
	next    atomic.Int64 // unix nanoseconds of the next look
	mu      sync.Mutex   // one look at a time; guards what follows
	raw     []byte
	// refused is the content that was looked at last and could not be used.
	refused []byte
	counts  *Counts
}

// Open reads and parses the file for the first time. Later errors go to
// onError, and the value before stays.
func Open[T any](path string, parse func([]byte) (T, error), onError func(error)) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, onError: onError, now: time.Now, every: Interval}
	if f.onError == nil {
		f.onError = func(error) {}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v, err := parse(raw)
	if err != nil {
		return nil, err
	}
	f.set(raw, v)
	return f, nil
}

// Of is a value that never changes, for those who have it from elsewhere.
func Of[T any](v T) *File[T] {
	f := &File[T]{now: time.Now, every: 1<<63 - 1}
	f.current.Store(&v)
	f.next.Store(1<<63 - 1)
	return f
}

func (f *File[T]) set(raw []byte, v T) {
	f.raw = raw
	f.current.Store(&v)
	f.version.Add(1)
	f.next.Store(f.now().Add(f.every).UnixNano())
}

// Get is the current value.
func (f *File[T]) Get() T {
	if f.now().UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.look()
		f.mu.Unlock()
	}
	return *f.current.Load()
}

// Version changes whenever the value does; call Get first.
func (f *File[T]) Version() int64 { return f.version.Load() }

// Check looks at the file now.
func (f *File[T]) Check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
}

func (f *File[T]) fail(err error) {
	f.onError(err)
	f.counts.outcome("failure", float64(f.now().Unix()))
}

func (f *File[T]) look() {
	if f.path == "" {
		return
	}
	f.next.Store(f.now().Add(f.every).UnixNano())
	raw, err := os.ReadFile(f.path)
	if err != nil {
		// Told once, not each second.
		if f.refused == nil || len(f.refused) > 0 {
			f.refused = []byte{}
			f.fail(err)
		}
		return
	}
	if bytes.Equal(raw, f.raw) {
		f.refused = nil
		return
	}
	if f.refused != nil && bytes.Equal(raw, f.refused) {
		return
	}
	v, err := f.parse(raw)
	if err != nil {
		f.refused = raw
		f.fail(err)
		return
	}
	f.refused = nil
	f.set(raw, v)
	f.counts.used(raw)
	f.counts.outcome("success", float64(f.now().Unix()))
}
