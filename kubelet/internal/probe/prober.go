package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// attempts at a probe that does not work.
const attempts = 3

// prober is one probe of one container.
type prober struct {
	m      *Manager
	pod    *corev1.Pod
	target Target
	kind   Kind
	spec   *corev1.Probe
	jitter time.Duration
	cancel context.CancelFunc // guarded by Manager.mu

	mu     sync.Mutex
	result Result // guarded by mu

	// Owned by run.
	last Result
	row  int32 // equal results in a row
}

func (p *prober) get() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// stop needs the manager's lock.
func (p *prober) stop() {
	if p.cancel != nil {
		p.cancel()
	}
}

func period(spec *corev1.Probe) time.Duration {
	return max(time.Duration(spec.PeriodSeconds)*time.Second, time.Second)
}

// waitStarted is how often a probe that waits for the startup probe looks.
const waitStarted = 200 * time.Millisecond

func (p *prober) run(ctx context.Context) {
	first := time.Until(p.target.Since.Add(time.Duration(p.spec.InitialDelaySeconds) * time.Second))
	if rest(ctx, max(first, p.jitter)) != nil {
		return
	}
	for p.kind != Startup && !p.m.Started(p.target.ID) {
		if rest(ctx, waitStarted) != nil {
			return
		}
	}
	if p.kind == Startup && p.get() == Success {
		return
	}
	t := time.NewTicker(period(p.spec))
	defer t.Stop()
	if p.early(ctx) {
		return
	}
	for asked := p.last == Success; ; asked = false {
		if !asked && p.once(ctx) {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
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
// unready until the next period. What fails here counts for nothing.
func (p *prober) early(ctx context.Context) bool {
	if p.kind == Liveness || p.get() == Success || p.target.Adopted {
		return false
	}
	for pause := earlyFirst; pause <= min(earlyLast, period(p.spec)/4); pause *= 2 {
		result, output := p.ask(ctx)
		if ctx.Err() != nil {
			return true
		}
		if result == Success {
			return p.settle(result, output)
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

// once probes, and reports whether that was the last time.
func (p *prober) once(ctx context.Context) bool {
	result, output := p.ask(ctx)
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
	if changed {
		p.m.o.Changed(p.pod.UID)
	}
	// A container that failed is restarted; one that started has started.
	return p.kind == Startup || p.kind == Liveness && result == Failure
}

// ask probes, again when the probe itself does not work.
func (p *prober) ask(ctx context.Context) (Result, string) {
	timeout := max(time.Duration(p.spec.TimeoutSeconds)*time.Second, time.Second)
	var output string
	for range attempts {
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
