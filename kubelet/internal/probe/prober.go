package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// attempts at a probe that does not work, where its result counts.
const attempts = 3

// prober is one probe of one container.
type prober struct {
	m      *Manager
	pod    *corev1.Pod
	target Target
	kind   Kind
	spec   *corev1.Probe
	jitter time.Duration
	// through is closed once a startup probe has succeeded.
	through chan struct{}
	over    bool               // guarded by Manager.mu: asks no more
	cancel  context.CancelFunc // guarded by Manager.mu

	mu     sync.Mutex
	result Result // guarded by mu

	// Owned by run.
	began time.Time // of asking
	last  Result
	row   int32 // equal results in a row
}

func (p *prober) get() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// stop lets it ask no more; what it knows stays known. It needs the manager's
// lock.
func (p *prober) stop() {
	p.over = true
	if p.cancel != nil {
		p.cancel()
	}
}

func period(spec *corev1.Probe) time.Duration {
	return max(time.Duration(spec.PeriodSeconds)*time.Second, time.Second)
}

func (p *prober) run(ctx context.Context) {
	delay := time.Duration(p.spec.InitialDelaySeconds) * time.Second
	left := min(time.Until(p.target.Since.Add(delay)), delay) // a clock that was set back makes it no longer
	if rest(ctx, max(left, p.jitter)) != nil {
		return
	}
	if p.kind != Startup && !p.m.awaitStarted(ctx, p.target.ID) {
		return
	}
	if p.kind == Startup && p.get() == Success {
		return
	}
	t := time.NewTicker(period(p.spec))
	defer t.Stop()
	p.began = time.Now()
	if p.early(ctx) {
		return
	}
	for asked := p.row > 0; ; asked = false {
		if !asked && p.once(ctx) {
			return
		}
		if p.await(ctx, t.C) != nil {
			return
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// early asks a container that has just begun a few times in quick succession
// whether it is there: most are within a second, and would else count as
// unready until the next period. What fails here counts for nothing, but for a
// startup probe that takes its time: one that hangs is not given more of it.
func (p *prober) early(ctx context.Context) bool {
	if p.kind == Liveness || p.get() == Success || p.target.Told {
		return false
	}
	for pause := earlyFirst; pause <= min(earlyLast, period(p.spec)/4); pause *= 2 {
		asked := time.Now()
		result, output := p.ask(ctx, 1)
		if ctx.Err() != nil {
			return true
		}
		slow := time.Since(asked) > earlyLast
		if result == Success || slow && p.kind == Startup && result == Failure {
			return p.settle(result, output)
		}
		if slow {
			return false
		}
		if rest(ctx, pause) != nil {
			return true
		}
	}
	return false
}

// Pauses between the first questions.
const (
	earlyFirst = 25 * time.Millisecond
	earlyLast  = 400 * time.Millisecond
)

// await waits for the next turn. A container that is not ready is asked in
// between too, ever less often, as the API allows for: one that takes its time
// to begin is ready within half as much again, not a period later. What fails
// here counts for nothing.
func (p *prober) await(ctx context.Context, turn <-chan time.Time) error {
	for p.kind == Readiness && p.last != Success && p.get() != Success && !p.target.Told {
		t := time.NewTimer(max(earlyLast, time.Since(p.began)/2))
		select {
		case <-turn:
			t.Stop()
			return nil
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		result, output := p.ask(ctx, 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if result == Success {
			p.settle(result, output)
		}
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once probes, and reports whether that was the last time.
func (p *prober) once(ctx context.Context) bool {
	result, output := p.ask(ctx, attempts)
	if ctx.Err() != nil {
		return true
	}
	return p.settle(result, output)
}

// settle counts a result.
func (p *prober) settle(result Result, output string) bool {
	p.tell(result, output)
	if result == Unsure {
		return false
	}
	if result == p.last {
		p.row++
	} else {
		p.last, p.row = result, 1
	}
	if result == Failure && p.row < max(p.spec.FailureThreshold, 1) || result == Success && p.row < max(p.spec.SuccessThreshold, 1) {
		return false
	}
	p.mu.Lock()
	changed := p.result != result
	p.result = result
	p.mu.Unlock()
	if p.kind == Startup && result == Success {
		close(p.through)
	}
	if changed {
		p.m.o.Changed(p.pod.UID)
	}
	// A container that failed is restarted; one that started has started.
	return p.kind == Startup || p.kind == Liveness && result == Failure
}

// ask probes, up to so many times when the probe itself does not work.
func (p *prober) ask(ctx context.Context, tries int) (Result, string) {
	timeout := max(time.Duration(p.spec.TimeoutSeconds)*time.Second, time.Second)
	var output string
	for range tries {
		began := time.Now()
		result, text, err := p.m.probe(ctx, p, timeout)
		if p.m.o.Took != nil {
			p.m.o.Took(p.kind, p.pod, p.target.Container.Name, time.Since(began))
		}
		if err == nil {
			return result, text
		}
		output = err.Error()
	}
	return Unsure, output
}

// maxOutput of a probe in an event, in bytes.
const maxOutput = 900

func (p *prober) tell(result Result, output string) {
	if p.m.o.Count != nil {
		p.m.o.Count(p.kind, result, p.pod, p.target.Container.Name)
	}
	if len(output) > maxOutput {
		output = output[:maxOutput]
	}
	switch result {
	case Failure:
		p.m.o.Event(p.pod, p.target.Container.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", p.kind, output))
	case Unsure:
		p.m.o.Event(p.pod, p.target.Container.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in %s state: %s", p.kind, result, output))
	case Success:
		if output != "" {
			p.m.o.Event(p.pod, p.target.Container.Name, corev1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", p.kind, output))
		}
	}
}
