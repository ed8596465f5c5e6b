// Package write carries out what controllers have decided: many writes side by
// side over one stream, their results in order, and a memory of what was
// written and is not yet seen in the replicas.
package write

import (
	"context"
	"errors"

	"xebec.dev/client"
)

// Writer writes on behalf of one controller.
type Writer struct {
	Client *client.Client
	batch  *client.Batch
}

// NewWriter makes a writer over a batch that somebody else runs.
func NewWriter(c *client.Client, b *client.Batch) *Writer { return &Writer{Client: c, batch: b} }

// All sends writes side by side and gives their results in order. What the
// server refuses for being busy is sent again: it is no failure to tell of.
func (w *Writer) All(ctx context.Context, writes []*client.Write) []client.Result {
	results := make([]client.Result, len(writes))
	answers := make([]chan client.Result, len(writes))
	for i, q := range writes {
		answer := make(chan client.Result, 1)
		if results[i].Err = w.batch.Insist(ctx, q, func(r client.Result) { answer <- r }); results[i].Err == nil {
			answers[i] = answer
		}
	}
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		select {
		case results[i] = <-answer:
		case <-ctx.Done():
			results[i].Err = ctx.Err()
		}
	}
	return results
}

// Do sends one write.
func (w *Writer) Do(ctx context.Context, q *client.Write) client.Result {
	return w.All(ctx, []*client.Write{q})[0]
}

// Slow sends writes in rounds that double from one: what fails, fails once
// and not a thousand times (a quota, a template that nothing accepts). It
// stops after the first round with an error; the results of what was not sent
// are left out.
func (w *Writer) Slow(ctx context.Context, writes []*client.Write) []client.Result {
	var results []client.Result
	for size := 1; len(writes) > 0; size *= 2 {
		n := min(size, len(writes))
		round := w.All(ctx, writes[:n])
		results = append(results, round...)
		writes = writes[n:]
		if FirstError(round) != nil {
			break
		}
	}
	return results
}

// FirstError of results, nil when all went well.
func FirstError(results []client.Result) error {
	for i := range results {
		if results[i].Err != nil {
			return results[i].Err
		}
	}
	return nil
}

// Unknown reports whether any of the writes may or may not have happened.
func Unknown(results []client.Result) bool {
	for i := range results {
		if errors.Is(results[i].Err, client.ErrOutcomeUnknown) {
			return true
		}
	}
	return false
}
