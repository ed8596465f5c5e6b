package request

import (
	"context"
	"sync"
)

// notes are what the pipeline leaves on a request for the front door.
type notes struct {
	mu sync.Mutex
	// guarded by mu
	warnings    []string
	annotations map[string]string
}

// Warn adds a warning for the client; repeated texts count once.
func Warn(ctx context.Context, text string) {
	r := From(ctx)
	if r == nil || text == "" {
		return
	}
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	for _, w := range r.notes.warnings {
		if w == text {
			return
		}
	}
	r.notes.warnings = append(r.notes.warnings, text)
}

// Warnings are the warnings so far, in order.
func (r *Request) Warnings() []string {
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	return append([]string(nil), r.notes.warnings...)
}

// Annotate adds an audit annotation; the first value of a key stays.
func Annotate(ctx context.Context, key, value string) {
	r := From(ctx)
	if r == nil {
		return
	}
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	if r.notes.annotations == nil {
		r.notes.annotations = map[string]string{}
	}
	if _, ok := r.notes.annotations[key]; !ok {
		r.notes.annotations[key] = value
	}
}

// Annotations are the audit annotations so far.
func (r *Request) Annotations() map[string]string {
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	out := make(map[string]string, len(r.notes.annotations))
	for k, v := range r.notes.annotations {
		out[k] = v
	}
	return out
}
