package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

// Pauses after failures.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 2 * time.Minute
	// startRetry is after a container could not be started: Kubernetes'.
	startRetry = 10 * time.Second
)

// maxRounds of plans at once: a pod that is never at rest yields to the rest.
const maxRounds = 16

// live brings a wanted pod to what it should be.
func (w *Worker) live(ctx context.Context, v view) time.Time {
	if until, over := w.deadline(v.pod); over {
		const message = "Pod was active on the node longer than the specified deadline"
		w.o.Events(v.pod, "", corev1.EventTypeNormal, "DeadlineExceeded", message)
		w.evict(status.Verdict{Phase: corev1.PodFailed, Reason: "DeadlineExceeded", Message: message}, nil)
		return until
	}
	next := w.step(ctx, v)
	w.probe(v, false)
	w.report(v)
	if until, _ := w.deadline(v.pod); !until.IsZero() {
		next = earlier(next, until)
	}
	if w.pending != nil {
		next = earlier(next, now().Add(retryResize))
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// deadline is when the pod's time is up.
func (w *Worker) deadline(pod *corev1.Pod) (until time.Time, over bool) {
	d := pod.Spec.ActiveDeadlineSeconds
	if d == nil {
		return time.Time{}, false
	}
	start := w.begun
	if pod.Status.StartTime != nil {
		start = pod.Status.StartTime.Time
	}
	until = start.Add(time.Duration(*d) * time.Second)
	return until, !until.After(now())
}

// step plans and acts until there is nothing more to do, or something failed.
func (w *Worker) step(ctx context.Context, v view) time.Time {
	if w.paused.After(now()) {
		return w.paused
	}
	if err := w.prepare(ctx, v.pod); err != nil {
		return w.failed(ctx, err)
	}
	var next time.Time
	for range maxRounds {
		p, err := w.plan(v)
		if err != nil {
			return w.failed(ctx, err)
		}
		w.before, w.backoff, next = w.backoff, p.Backoff, p.Wake()
		w.setWaits(v.pod, p.Waits)
		if len(p.Actions) == 0 {
			if p.Held.IsZero() {
				w.resized(v.pod)
			}
			break
		}
		if ctx.Err() != nil {
			break
		}
		w.log.Debug("plan", zap.Stringer("plan", p))
		if err := w.apply(ctx, v, p.Actions); err != nil {
			return earlier(w.failed(ctx, err), next)
		}
		if !w.stageIs(living) {
			break
		}
	}
	w.failures = 0
	return next
}

// failed says when to try again.
func (w *Worker) failed(ctx context.Context, err error) time.Time {
	if ctx.Err() != nil {
		return time.Time{} // not wanted any more: there is news
	}
	w.log.Debug("the pod is not what it should be yet", zap.Error(err))
	w.paused = now().Add(pauseAfter(w.failures))
	w.failures++
	return w.paused
}

// pauseAfter is before another attempt when so many have failed.
func pauseAfter(failures int) time.Duration { return min(firstRetry<<min(failures, 10), lastRetry) }

// hold lets a container that could not be started wait. What never ran is no
// restart that makes the pauses between restarts longer.
func (w *Worker) hold(name string, e *startError) {
	w.held[name] = e.retry(now(), rand.Float64())
	if e.reason != runError && e.reason != hookError {
		w.backoff[name] = w.before[name]
	}
}

// changed are the containers that may start now although they could not as
// the pod was before: they are others, or have something of its labels and
// annotations in their environment.
func changed(before, now *corev1.Pod) (names []string) {
	if before == now {
		return nil
	}
	meta := !maps.Equal(before.Labels, now.Labels) || !maps.Equal(before.Annotations, now.Annotations)
	eachContainer(now, func(c *corev1.Container, _ plan.Kind) {
		if meta && readsMeta(c) || !equality.Semantic.DeepEqual(c, containerOf(before, c.Name)) {
			names = append(names, c.Name)
		}
	})
	return names
}

func readsMeta(c *corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool {
		return v.ValueFrom != nil && v.ValueFrom.FieldRef != nil && strings.HasPrefix(v.ValueFrom.FieldRef.FieldPath, "metadata.")
	})
}

// retry is when to start a container again, by luck between 0 and 1: many
// pods that fail alike should not come back as one. One that waits for its
// image says so before it tries again.
func (e *startError) retry(now time.Time, luck float64) time.Time {
	switch {
	case !e.until.After(now):
		return now.Add(startRetry + time.Duration(luck*float64(startRetry/2)))
	case e.reason == image.ErrImagePull:
		return now.Add(e.until.Sub(now) / 2)
	}
	return e.until
}

// prepare makes what containers need: a place in the tree of cgroups, and
// volumes. It is asked again on each round: volumes come and are renewed.
func (w *Worker) prepare(ctx context.Context, pod *corev1.Pod) error {
	if seen := w.seen(); seen.AnyRunning() && now().Sub(w.mounted) < volumesHold {
		return nil
	}
	if err := w.directories(pod); err != nil {
		return err
	}
	if err := w.o.Volumes.Setup(ctx, pod); err != nil {
		w.mountEvents(pod, err)
		return fmt.Errorf("volumes: %w", err)
	}
	w.mounted = now()
	return nil
}

// volumesHold is how long volumes of a running pod are believed to be there;
// what is in them is kept current elsewhere.
const volumesHold = time.Minute

// mountEvents tells of each volume that failed.
func (w *Worker) mountEvents(pod *corev1.Pod, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			w.o.Events(pod, "", corev1.EventTypeWarning, "FailedMount", one.Error())
		}
		return
	}
	w.o.Events(pod, "", corev1.EventTypeWarning, "FailedMount", err.Error())
}

func (w *Worker) plan(v view) (*plan.Plan, error) {
	seen := w.seen()
	in := plan.Input{
		Pod: v.pod, Observed: seen, Backoff: w.backoff, Limits: w.o.Limits.For(runtime.IsStatic(v.pod)), Now: now(),
		Unhealthy: map[string]string{}, Unstarted: map[string]bool{}, Resources: map[string]*runtimeapi.LinuxContainerResources{},
		Again: w.again, Held: w.held,
	}
	if seen != nil {
		for _, c := range seen.Containers {
			if c.State != runtime.Running {
				continue
			}
			if kind := w.o.probes.Failed(c.ID); kind != "" {
				in.Unhealthy[c.ID] = kind
			}
			if !w.o.probes.Started(c.ID) {
				in.Unstarted[c.ID] = true
			}
		}
	}
	eachContainer(v.pod, func(c *corev1.Container, _ plan.Kind) {
		in.Resources[c.Name] = w.o.Cgroups.Resources(v.pod, c)
	})
	if v.pod != w.grouped {
		change, err := w.o.Cgroups.Change(v.pod)
		if err != nil {
			return nil, fmt.Errorf("look at the pod's cgroup: %w", err)
		}
		in.Grows, in.Shrinks = change.Grows, change.Shrinks
		if change == (cgroup.Change{}) {
			w.grouped = v.pod
		}
	}
	return plan.Make(in), nil
}

func eachContainer(pod *corev1.Pod, f func(*corev1.Container, plan.Kind)) {
	for i := range pod.Spec.InitContainers {
		kind := plan.Init
		if plan.IsSidecar(&pod.Spec.InitContainers[i]) {
			kind = plan.Sidecar
		}
		f(&pod.Spec.InitContainers[i], kind)
	}
	for i := range pod.Spec.Containers {
		f(&pod.Spec.Containers[i], plan.Regular)
	}
	for i := range pod.Spec.EphemeralContainers {
		c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c, plan.Ephemeral)
	}
}

func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	var out *corev1.Container
	eachContainer(pod, func(c *corev1.Container, _ plan.Kind) {
		if c.Name == name {
			out = c
		}
	})
	return out
}

const crashLoop = "CrashLoopBackOff"

// setWaits remembers which containers wait for their next start, and tells of
// each once.
func (w *Worker) setWaits(pod *corev1.Pod, waits []plan.Wait) {
	for name, why := range w.waiting {
		if why.Reason == crashLoop && !slices.ContainsFunc(waits, func(x plan.Wait) bool { return x.Name == name }) {
			delete(w.waiting, name)
		}
	}
	for _, x := range waits {
		message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", x.Delay, x.Name, runtime.Describe(pod))
		if w.waiting[x.Name].Message == message {
			continue
		}
		w.waiting[x.Name] = status.Waiting{Reason: crashLoop, Message: message}
		w.o.Events(pod, x.Name, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", x.Name, runtime.Describe(pod)))
	}
}

// apply does a plan's actions. What failed is returned once the rest is done;
// a container that could not be started is held back, which is no failure of
// the pod's.
func (w *Worker) apply(ctx context.Context, v view, actions []plan.Action) error {
	var errs []error
	actions, err := w.safe(v.pod, actions)
	if err != nil {
		errs = append(errs, err)
	}
	for _, a := range actions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := w.act(ctx, v, a)
		var notStarted *startError
		switch {
		case errors.As(err, &notStarted):
			w.log.Debug("a container can't be started yet", zap.String("container", a.Name), zap.Error(err))
			w.hold(a.Name, notStarted)
		case err != nil:
			errs = append(errs, err)
		}
		if err != nil && (a.Op == plan.StopSandbox || a.Op == plan.RunSandbox) {
			break // what follows needs it
		}
	}
	return errors.Join(errs...)
}

func (w *Worker) act(ctx context.Context, v view, a plan.Action) error {
	switch a.Op {
	case plan.Finish:
		w.advance(ending)
		w.poke()
		return nil
	case plan.StopSandbox:
		w.o.Events(v.pod, "", corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		return w.stopSandbox(ctx, v, a.ID)
	case plan.RunSandbox:
		err := w.runSandbox(ctx, v.pod, a.Attempt)
		w.ran(v.pod, "pod_sandbox", err)
		return err
	case plan.Start:
		c := containerOf(v.pod, a.Name)
		err := w.start(ctx, v.pod, c, a)
		w.ran(v.pod, string(a.Kind), err)
		w.note(v.pod, a.Name, err)
		if err == nil {
			delete(w.again, a.Name)
			delete(w.held, a.Name)
		}
		// Before it is told of, for a container that nobody probes counts as
		// ready.
		w.probe(v, false)
		w.report(v)
		return err
	case plan.Kill:
		if a.Again {
			w.again[a.Name] = true
		}
		err := w.killOne(ctx, v.pod, a.ID, containerOf(v.pod, a.Name), a.Why, graceOf(v.pod, nil, containerOf(v.pod, a.Name), a.Probe))
		return errors.Join(err, w.observe(ctx, v))
	case plan.Resize, plan.GrowPod, plan.ShrinkPod:
		return w.resizeOne(ctx, v, a)
	case plan.Remove:
		return w.removeContainer(ctx, a.ID)
	case plan.RemoveSandbox:
		if err := w.o.Runtime.RemoveSandbox(ctx, a.ID); err != nil {
			return fmt.Errorf("remove sandbox %s: %w", a.ID, err)
		}
		return w.observe(ctx, v)
	}
	return fmt.Errorf("a plan has the unknown action %q", a.Op)
}

// ran counts an attempt to start something.
func (w *Worker) ran(pod *corev1.Pod, kind string, err error) {
	if w.o.Ran == nil {
		return
	}
	failure := ""
	var s *startError
	switch {
	case errors.As(err, &s):
		failure = s.reason
	case err != nil:
		failure = "RunPodSandboxError"
	}
	w.o.Ran(pod, kind, failure)
}

// note remembers why a container could not be started.
func (w *Worker) note(pod *corev1.Pod, name string, err error) {
	var s *startError
	switch {
	case err == nil:
		delete(w.waiting, name)
	case errors.As(err, &s):
		w.waiting[name] = status.Waiting{Reason: s.reason, Message: s.message}
		if s.event != "" {
			w.o.Events(pod, name, corev1.EventTypeWarning, "Failed", "Error: "+s.event)
		}
	}
}

func (w *Worker) stopSandbox(ctx context.Context, v view, id string) error {
	if seen := w.seen(); seen != nil {
		for _, c := range seen.Containers {
			if c.SandboxID == id && (c.State == runtime.Running || c.State == runtime.Unknown) {
				spec := containerOf(v.pod, c.Name)
				if err := w.killOne(ctx, v.pod, c.ID, spec, "", graceOf(v.pod, nil, spec, "")); err != nil {
					return err
				}
			}
		}
	}
	if err := w.o.Runtime.StopSandbox(ctx, id); err != nil {
		return fmt.Errorf("stop sandbox %s: %w", id, err)
	}
	return w.observe(ctx, v)
}

func (w *Worker) removeContainer(ctx context.Context, id string) error {
	seen := w.seen()
	if err := w.o.Runtime.RemoveContainer(ctx, id); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	next := *seen
	next.Containers = slices.DeleteFunc(slices.Clone(seen.Containers), func(c *runtime.Container) bool {
		if c.ID == id {
			w.removeLogs(c)
		}
		return c.ID == id
	})
	w.see(&next)
	return nil
}

// probe has the running containers probed.
func (w *Worker) probe(v view, ends bool) {
	seen := w.seen()
	var targets []probe.Target
	if seen != nil {
		for _, run := range seen.Containers {
			if run.State != runtime.Running {
				continue
			}
			c := containerOf(v.pod, run.Name)
			if c == nil || c.LivenessProbe == nil && c.ReadinessProbe == nil && c.StartupProbe == nil {
				continue
			}
			t := probe.Target{ID: run.ID, Container: c, Since: run.Started, IP: w.podIP(v.pod, seen)}
			w.adopt(&t, v.pod)
			targets = append(targets, t)
		}
	}
	w.o.probes.Sync(v.pod, targets, ends)
}

func (w *Worker) podIP(pod *corev1.Pod, seen *runtime.Pod) string {
	ips := seen.IPs()
	if pod.Spec.HostNetwork {
		ips = w.o.Node.IPs()
	}
	if len(ips) == 0 {
		return ""
	}
	return ips[0]
}

// adopt tells what was known of a container before this kubelet began.
func (w *Worker) adopt(t *probe.Target, pod *corev1.Pod) {
	if !t.Since.Before(w.begun) {
		return
	}
	t.Adopted = true
	id := w.o.RuntimeName + "://" + t.ID
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if s := &list[i]; s.ContainerID == id {
				t.Told, t.Ready, t.Started = true, s.Ready, s.Started != nil && *s.Started
			}
		}
	}
}

// report says what the pod is like.
func (w *Worker) report(v view) {
	if w.orphan {
		return
	}
	w.mu.Lock()
	at, seen, verdict, pod := w.at, w.observed, w.verdict, v.pod
	if w.last != nil {
		pod = w.given()
	}
	w.mu.Unlock()
	in := status.Input{
		Pod: pod, Observed: seen, Runtime: w.o.RuntimeName, HostIPs: w.o.Node.IPs(), Waiting: w.waiting, Verdict: verdict,
		Ready: map[string]bool{}, Started: map[string]bool{}, Ending: at >= ending, Ended: at >= ended, Begun: w.begun, Resizes: w.resizes(), Whole: w.whole, Now: now(),
	}
	if seen != nil {
		for _, c := range seen.Containers {
			if c.State == runtime.Running {
				in.Started[c.ID] = w.o.probes.Started(c.ID)
				in.Ready[c.ID] = w.o.probes.Ready(c.ID, containerOf(pod, c.Name))
			}
		}
	}
	s := status.Make(w.withLast(in))
	w.mu.Lock()
	w.last = s
	w.mu.Unlock()
	if s.Phase == corev1.PodRunning && !w.reported {
		w.reported = true
		if w.o.Started != nil {
			w.o.Started(pod, now().Sub(w.begun))
		}
	}
	w.o.Statuses.Set(pod, s)
}

// withLast makes the pod's own last status the one that transitions are
// counted from: what the API has may be older. Conditions of others are the
// API's.
func (w *Worker) withLast(in status.Input) status.Input {
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	if last == nil {
		return in
	}
	pod := *in.Pod
	pod.Status = status.Merge(last, &in.Pod.Status)
	in.Pod = &pod
	return in
}

// pullError turns a puller's error into a container's.
func pullError(err error) error {
	var e *image.Error
	if !errors.As(err, &e) {
		return err
	}
	return &startError{reason: e.Reason, message: e.Message, event: e.Reason, until: e.Until}
}
