package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
)

// purgeAgain is how soon to look again whether what a pod that is over has left
// can go.
const purgeAgain = 250 * time.Millisecond

// Purge removes what is kept only to be looked at: containers and directories of
// pods that are over, and earlier runs of those that live. What was reported of
// them stays so. It returns once that is done, or ctx has ended: then it is no
// longer asked for.
func (p *Pods) Purge(ctx context.Context) error {
	var asked []*Worker
	var waits []<-chan struct{}
	for _, w := range p.all() {
		if done := w.purge(); done != nil {
			asked, waits = append(asked, w), append(waits, done)
		}
	}
	for _, done := range waits {
		select {
		case <-done:
		case <-ctx.Done():
			for _, w := range asked {
				w.purged()
			}
			return ctx.Err()
		}
	}
	return nil
}

// purge asks the worker to remove what its pod has left, and gives what is closed
// once it has; nil is that there is nothing to be removed now.
func (w *Worker) purge() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.leaves() {
		return nil
	}
	if w.purging == nil {
		w.purging = make(chan struct{})
		w.poke()
	}
	return w.purging
}

// leaves reports whether there is something to be purged. It needs the lock.
func (w *Worker) leaves() bool {
	switch {
	case w.removed || w.observed == nil: // it goes anyway, or nothing is known of it
		return false
	case w.at >= ended:
		// A static pod's end is known from its containers only: without them the
		// next kubelet would run it again.
		return !runtime.IsStatic(w.pod) && len(w.observed.Containers)+len(w.observed.Sandboxes) > 0
	case w.at == living:
		return len(plan.Purge(w.observed)) > 0
	}
	return false
}

func (w *Worker) isPurging() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.purging != nil
}

// purged ends what was asked for.
func (w *Worker) purged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.purging != nil {
		close(w.purging)
		w.purging = nil
	}
}

// purgeEarlier removes runs that others have followed. Those were reported before.
func (w *Worker) purgeEarlier(ctx context.Context, v view) {
	if !w.isPurging() {
		return
	}
	defer w.purged()
	for _, a := range plan.Purge(w.seen()) {
		if err := w.act(ctx, v, a); err != nil {
			w.log.Warn("what an earlier run has left can't be removed", zap.Error(err))
			return
		}
	}
}

// purgeEnded removes what a pod that is over has left, once the API knows that it
// is: a kubelet that began before that would run it again.
func (w *Worker) purgeEnded(ctx context.Context) time.Time {
	if !w.isPurging() {
		return time.Time{}
	}
	if !w.o.Statuses.Over(w.uid) {
		return now().Add(purgeAgain)
	}
	if err := w.wipe(ctx); err != nil {
		w.log.Debug("what the pod has left can't be removed yet", zap.Error(err))
		return now().Add(purgeAgain)
	}
	w.purged()
	return time.Time{}
}
