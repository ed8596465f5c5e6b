package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/status"
)

func resizes(a plan.Action) bool {
	return a.Op == plan.Resize || a.Op == plan.GrowPod || a.Op == plan.ShrinkPod
}

// safe leaves changes of resources out as long as memory would be taken that is
// in use: the kernel would end processes for it. What else there is to do is
// done.
func (w *Worker) safe(pod *corev1.Pod, actions []plan.Action) ([]plan.Action, error) {
	if !slices.ContainsFunc(actions, resizes) {
		return actions, nil
	}
	if w.resize == nil {
		w.resize = &status.Resize{Type: corev1.PodResizeInProgress, Generation: pod.Generation}
	}
	err := w.memoryInUse(pod, actions)
	if err == nil {
		return actions, nil
	}
	return slices.DeleteFunc(slices.Clone(actions), resizes), w.resizeFailed(pod, err)
}

// memoryInUse is why memory can't be taken, nil if it can.
func (w *Worker) memoryInUse(pod *corev1.Pod, actions []plan.Action) error {
	var errs []error
	change, err := w.o.Cgroups.Change(pod)
	if err != nil {
		return err
	}
	if change.Memory > 0 {
		used, err := w.o.Cgroups.MemoryInUse(pod, "")
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("missing pod memory usage: %w", err))
		case used >= change.Memory:
			errs = append(errs, fmt.Errorf("attempting to set pod memory limit (%d) below current usage (%d)", change.Memory, used))
		}
	}
	seen := w.seen()
	for _, a := range actions {
		run := seen.Container(a.Name)
		if a.Op != plan.Resize || run == nil {
			continue
		}
		limit := plan.LowersMemory(run.Resources, w.o.Cgroups.Resources(pod, containerOf(pod, a.Name)))
		if limit == 0 {
			continue
		}
		used, err := w.o.Cgroups.MemoryInUse(pod, run.ID)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("missing container %q memory usage: %w", a.Name, err))
		case used >= limit:
			errs = append(errs, fmt.Errorf("attempting to set container %q memory limit (%d) below current usage (%d)", a.Name, limit, used))
		}
	}
	return errors.Join(errs...)
}

// resizeFailed says why a change of resources is not through, once.
func (w *Worker) resizeFailed(pod *corev1.Pod, err error) error {
	failed := *w.resize
	failed.Reason, failed.Message = corev1.PodReasonError, err.Error()
	if w.resize.Reason == "" {
		w.o.Events(pod, "", corev1.EventTypeWarning, "ResizeError", "Pod resize error: "+resizeText(pod, err.Error()))
	}
	w.resize = &failed
	return err
}

func (w *Worker) resizeOne(ctx context.Context, v view, a plan.Action) error {
	var err error
	switch a.Op {
	case plan.GrowPod:
		err = w.o.Cgroups.GrowPod(v.pod)
	case plan.ShrinkPod:
		err = w.o.Cgroups.ShrinkPod(v.pod)
	default:
		if err = w.o.Runtime.UpdateContainer(ctx, a.ID, w.o.Cgroups.Resources(v.pod, containerOf(v.pod, a.Name))); err == nil {
			return w.observe(ctx, v)
		}
		err = fmt.Errorf("resize container %s: %w", a.Name, err)
	}
	if err != nil {
		return w.resizeFailed(v.pod, err)
	}
	return nil
}

// allocationFile has what was given to a pod that once asked for something
// else: whoever comes next must not give more without asking whether it fits.
func (w *Worker) allocationFile() string {
	return filepath.Join(w.podDir(), "allocated_resources.json")
}

// writeAllocation remembers what a pod is given, before it is. What can't be
// written is still in the pod's status.
func (w *Worker) writeAllocation(a allocation) {
	if equality.Semantic.DeepEqual(a, w.written) {
		return
	}
	raw, err := json.Marshal(a)
	if err == nil {
		fresh := w.allocationFile() + ".new"
		if err = os.WriteFile(fresh, raw, 0o600); err == nil {
			err = os.Rename(fresh, w.allocationFile())
		}
	}
	if err != nil {
		w.log.Warn("what the pod is given can't be written down", zap.Error(err))
		return
	}
	w.written = a
}

// readAllocation is what was written down, nil if nothing was.
func (w *Worker) readAllocation() allocation {
	raw, err := os.ReadFile(w.allocationFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var a allocation
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		w.log.Warn("what the pod was given can't be read; its status is believed", zap.String("path", w.allocationFile()), zap.Error(err))
		return nil
	}
	w.written = a
	return a
}
