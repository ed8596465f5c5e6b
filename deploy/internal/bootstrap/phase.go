package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Phase is a named step of a verb.
type Phase[T any] struct {
	Name, Short string
	// Run is what the phase does before its parts; nil is nothing.
	Run func(T, context.Context) error
	// Parts are steps that can be run, or skipped, as PHASE/PART.
	Parts []Phase[T]
}

// runPhases runs what is not skipped, in order. A skipped phase that there is
// not is an error: what was to be left out would be done.
func runPhases[T any](ctx context.Context, of T, phases []Phase[T], skip []string) error {
	for _, s := range skip {
		if _, ok := find(phases, s); !ok {
			return fmt.Errorf("skip phases: there is no phase %q; there are %s", s, strings.Join(paths(phases, ""), ", "))
		}
	}
	return runThese(ctx, of, phases, "", skip)
}

func runThese[T any](ctx context.Context, of T, phases []Phase[T], above string, skip []string) error {
	for _, p := range phases {
		path := above + p.Name
		if slices.Contains(skip, path) {
			continue
		}
		if err := runOne(ctx, of, p, path, skip); err != nil {
			return err
		}
	}
	return nil
}

// runOne runs a phase with its parts.
func runOne[T any](ctx context.Context, of T, p Phase[T], path string, skip []string) error {
	trace, _ := ctx.Value(traceKey{}).(func(path string, took time.Duration, err error))
	if trace == nil {
		trace = func(string, time.Duration, error) {}
	}
	begun := time.Now()
	trace(path, -1, nil)
	if p.Run != nil {
		if err := p.Run(of, ctx); err != nil {
			trace(path, time.Since(begun), err)
			return fmt.Errorf("phase %s: %w", path, err)
		}
	}
	err := runThese(ctx, of, p.Parts, path+"/", skip)
	trace(path, time.Since(begun), err)
	return err
}

type traceKey struct{}

// WithTrace makes phases tell when they begin, by a time less than none, and
// when they have ended.
func WithTrace(ctx context.Context, tell func(path string, took time.Duration, err error)) context.Context {
	return context.WithValue(ctx, traceKey{}, tell)
}

// runPhase runs one phase, or a part of one, alone.
func runPhase[T any](ctx context.Context, of T, phases []Phase[T], path string) error {
	p, ok := find(phases, path)
	if !ok {
		return fmt.Errorf("there is no phase %q", path)
	}
	return runOne(ctx, of, p, path, nil)
}

// find looks a phase up by its path.
func find[T any](phases []Phase[T], path string) (Phase[T], bool) {
	name, rest, deeper := strings.Cut(path, "/")
	at := slices.IndexFunc(phases, func(p Phase[T]) bool { return p.Name == name })
	if at < 0 {
		return Phase[T]{}, false
	}
	if !deeper {
		return phases[at], true
	}
	return find(phases[at].Parts, rest)
}

// paths are the names of all phases and their parts.
func paths[T any](phases []Phase[T], above string) []string {
	var out []string
	for _, p := range phases {
		out = append(out, above+p.Name)
		out = append(out, paths(p.Parts, above+p.Name+"/")...)
	}
	return out
}
