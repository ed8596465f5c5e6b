package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
)

// leastGrace is what a container has at least once its hook is through.
const leastGrace = 2 * time.Second

// killing is the end of all containers of a pod, under way.
type killing struct {
	grace  time.Duration
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

// graceOf is how long a container has to end.
func graceOf(pod *corev1.Pod, override *int64, c *corev1.Container, failed string) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case override != nil:
		seconds = *override
	case pod.DeletionGracePeriodSeconds != nil:
		seconds = *pod.DeletionGracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if override == nil && pod.DeletionGracePeriodSeconds == nil && c != nil {
		var own *corev1.Probe
		switch failed {
		case "liveness":
			own = c.LivenessProbe
		case "startup":
			own = c.StartupProbe
		}
		if own != nil && own.TerminationGracePeriodSeconds != nil {
			seconds = *own.TerminationGracePeriodSeconds
		}
	}
	return runtime.Grace(max(seconds, 1))
}

// end brings a pod's containers to their end, and comes back until they have.
func (w *Worker) end(ctx context.Context, v view) time.Time {
	w.advance(ending)
	grace := graceOf(v.pod, v.grace, nil, "")
	if k := w.kill; k != nil {
		select {
		case <-k.done:
			return w.killed(ctx, v)
		default:
		}
		if grace >= k.grace {
			w.probe(v, true)
			w.report(v)
			return time.Time{} // its end is news
		}
		k.cancel() // less time than before
		<-k.done
		w.kill = nil
	}
	if seen := w.seen(); seen.AnyRunning() {
		w.beginKill(ctx, v, grace)
		w.probe(v, true)
		w.report(v)
		return time.Time{}
	}
	return w.allStopped(ctx, v)
}

func (w *Worker) beginKill(ctx context.Context, v view, grace time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	k := &killing{grace: grace, cancel: cancel, done: make(chan struct{})}
	w.kill = k
	seen := w.seen()
	w.p.work.Go(func() {
		defer cancel()
		k.err = w.killAll(ctx, v.pod, seen, grace)
		close(k.done)
		w.news()
	})
}

// killed looks at what the killing has brought.
func (w *Worker) killed(ctx context.Context, v view) time.Time {
	err := w.kill.err
	w.kill = nil
	if err != nil && ctx.Err() == nil {
		w.o.Events(v.pod, "", corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: %v", err))
		w.log.Warn("containers could not be stopped; trying again", zap.Error(err))
		w.report(v)
		return w.pause()
	}
	if w.seen().AnyRunning() {
		return w.end(ctx, v) // something came up meanwhile
	}
	return w.allStopped(ctx, v)
}

func (w *Worker) pause() time.Time {
	t := now().Add(pauseAfter(w.failures))
	w.failures++
	return t
}

// allStopped: the pod is over as far as people are concerned.
func (w *Worker) allStopped(ctx context.Context, v view) time.Time {
	w.failures = 0
	w.o.probes.Remove(w.uid)
	w.advance(ended)
	w.stopOnce.Do(func() { close(w.stopped) })
	w.p.freed(w)
	w.report(v)
	return w.after(ctx, v)
}

// halt lets go of what is under way: containers are left as they are.
func (w *Worker) halt() {
	if w.kill != nil {
		w.kill.cancel()
	}
}

// killAll ends containers: all at once, then sidecars in reverse order, then
// the sandboxes. Hooks of sidecars do not wait for their turn.
func (w *Worker) killAll(ctx context.Context, pod *corev1.Pod, seen *runtime.Pod, grace time.Duration) error {
	until := now().Add(grace)
	first, sidecars := endOrder(pod, seen)
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, c := range first {
		group.Go(func() { note(w.killOne(ctx, pod, c.ID, containerOf(pod, c.Name), "", grace)) })
	}
	hooks := make([]sync.WaitGroup, len(sidecars))
	for i, c := range sidecars {
		hooks[i].Go(func() { w.preStop(ctx, pod, c.ID, containerOf(pod, c.Name), "", grace) })
	}
	group.Wait()
	for i, c := range sidecars {
		hooks[i].Wait()
		note(w.stop(ctx, c.ID, c.Name, max(until.Sub(now()), leastGrace)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, s := range seen.Sandboxes {
		if err := w.o.Runtime.StopSandbox(ctx, s.ID); err != nil {
			errs = append(errs, fmt.Errorf("stop sandbox %s: %w", s.ID, err))
		}
	}
	return errors.Join(errs...)
}

// endOrder is in which order a pod's running containers end: those that end
// together, then its sidecars one after the other, the last one first.
func endOrder(pod *corev1.Pod, seen *runtime.Pod) (together, sidecars []*runtime.Container) {
	for _, c := range seen.Containers {
		if c.State != runtime.Running && c.State != runtime.Unknown {
			continue
		}
		if spec := containerOf(pod, c.Name); spec != nil && isSidecar(pod, spec) {
			sidecars = append(sidecars, c)
		} else {
			together = append(together, c)
		}
	}
	at := func(c *runtime.Container) int {
		return slices.IndexFunc(pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name })
	}
	slices.SortStableFunc(sidecars, func(a, b *runtime.Container) int { return at(b) - at(a) })
	return together, sidecars
}

func isSidecar(pod *corev1.Pod, c *corev1.Container) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == c.Name {
			return plan.IsSidecar(c)
		}
	}
	return false
}

// killOne ends a container: its hook, then the signal, within its time.
func (w *Worker) killOne(ctx context.Context, pod *corev1.Pod, id string, c *corev1.Container, why string, grace time.Duration) error {
	name := ""
	if c != nil {
		name = c.Name
	}
	return w.stop(ctx, id, name, w.preStop(ctx, pod, id, c, why, grace))
}

// preStop says that a container ends, runs its hook, and gives the time that is
// left.
func (w *Worker) preStop(ctx context.Context, pod *corev1.Pod, id string, c *corev1.Container, why string, grace time.Duration) time.Duration {
	name := ""
	if c != nil {
		name = c.Name
	}
	if why == "" {
		why = "Stopping container " + name
	}
	w.o.Events(pod, name, corev1.EventTypeNormal, "Killing", why)
	if c != nil && c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		began := now()
		hook, cancel := context.WithTimeout(ctx, grace)
		err := w.o.Hooks.Run(hook, pod, c, id, w.podIP(pod, w.seen()), c.Lifecycle.PreStop)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.o.Events(pod, name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		}
		grace = max(grace-now().Sub(began), leastGrace)
	}
	return grace
}

func (w *Worker) stop(ctx context.Context, id, name string, grace time.Duration) error {
	if err := w.o.Runtime.StopContainer(ctx, id, grace); err != nil {
		return fmt.Errorf("stop container %s: %w", name, err)
	}
	return nil
}

// after clears what a pod that is over leaves behind.
func (w *Worker) after(ctx context.Context, v view) time.Time {
	if w.seen().AnyRunning() {
		w.mu.Lock()
		w.at = ending
		w.expect()
		w.mu.Unlock()
		return w.endAgain(ctx, v)
	}
	if !w.stageIs(cleared) {
		if err := w.clear(ctx, v); err != nil {
			w.log.Debug("the pod's resources are still in use", zap.Error(err))
			return w.pause()
		}
		w.failures = 0
		w.advance(cleared)
		w.goneOnce.Do(func() { close(w.gone) })
	}
	if !v.removed {
		if v.pod.DeletionTimestamp != nil && !runtime.IsStatic(v.pod) {
			w.o.Statuses.Delete(v.pod)
		}
		return w.purgeEnded(ctx)
	}
	if err := w.wipe(ctx); err != nil {
		w.log.Debug("the pod's remains can't be removed yet", zap.Error(err))
		w.mu.Lock()
		w.at = ended
		w.dirty = true
		w.mu.Unlock()
		return w.pause()
	}
	return time.Time{}
}

// endAgain ends what should not run any more.
func (w *Worker) endAgain(ctx context.Context, v view) time.Time {
	if w.kill == nil {
		w.beginKill(ctx, v, leastGrace)
	}
	return time.Time{}
}

func (w *Worker) clear(ctx context.Context, v view) error {
	w.o.probes.Remove(w.uid)
	if err := w.o.Volumes.Teardown(ctx, w.uid); err != nil {
		return fmt.Errorf("tear down volumes: %w", err)
	}
	if err := w.o.Cgroups.RemovePod(w.uid); err != nil {
		return fmt.Errorf("remove the pod's cgroup: %w", err)
	}
	return nil
}

// wipe removes every trace of a pod that is gone.
func (w *Worker) wipe(ctx context.Context) error {
	seen := w.seen()
	if seen != nil {
		for _, c := range seen.Containers {
			if err := w.wipeContainer(ctx, seen, c); err != nil {
				return err
			}
		}
		for _, s := range seen.Sandboxes {
			if err := w.wipeSandbox(ctx, s); err != nil {
				return err
			}
		}
		w.see(&runtime.Pod{UID: w.uid, Key: w.key})
	}
	return w.removeFiles(ctx)
}

// wipeContainer removes a container, or leaves that to the removal of its
// sandbox, which takes along what is in it.
func (w *Worker) wipeContainer(ctx context.Context, seen *runtime.Pod, c *runtime.Container) error {
	w.unlinkLog(c)
	if slices.ContainsFunc(seen.Sandboxes, func(s *runtime.Sandbox) bool { return s.ID == c.SandboxID }) {
		return nil
	}
	if err := w.o.Runtime.RemoveContainer(ctx, c.ID); err != nil {
		return fmt.Errorf("remove container %s: %w", c.ID, err)
	}
	return nil
}

// wipeSandbox removes a sandbox. One that was stopped only in part, whose
// network is still there, can't be removed before it is stopped again.
func (w *Worker) wipeSandbox(ctx context.Context, s *runtime.Sandbox) error {
	if !s.Ready && w.o.Runtime.RemoveSandbox(ctx, s.ID) == nil {
		return nil
	}
	if err := w.o.Runtime.StopSandbox(ctx, s.ID); err != nil {
		return fmt.Errorf("stop sandbox %s: %w", s.ID, err)
	}
	if err := w.o.Runtime.RemoveSandbox(ctx, s.ID); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", s.ID, err)
	}
	return nil
}
