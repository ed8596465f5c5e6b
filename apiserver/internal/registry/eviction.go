package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// maxDisruptedPods bounds status.disruptedPods: beyond it the disruption
// controller is behind and evictions wait.
const maxDisruptedPods = 2000

// evict deletes a pod if its disruption budgets allow.
func (r *Registry) evict(ctx context.Context, t Target, body runtime.Object, validate func() error, dryRun bool) (*Result, error) {
	eviction := body.(*policyv1.Eviction)
	if eviction.Name != t.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	options := &metav1.DeleteOptions{}
	if eviction.DeleteOptions != nil {
		options = eviction.DeleteOptions.DeepCopy()
	}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	dryRun = isDryRun(options.DryRun)
	o, err := r.Store.Collection(t.Resource).Get(ctx, t.Namespace, t.Name, storage.Fresh, 0)
	if err != nil {
		return nil, Status(err, t.groupResource(), t.Name)
	}
	if err := validate(); err != nil {
		return nil, err
	}
	obj, err := Decode(t.Resource, o)
	if err != nil {
		return nil, err
	}
	pod := obj.(*corev1.Pod)
	plain := t
	plain.Subresource = ""
	if ignoresBudget(pod) {
		return r.evicted(ctx, plain, options)
	}
	budget, err := r.budgetOf(ctx, pod)
	if err != nil {
		return nil, err
	}
	if budget != nil && (pod.DeletionTimestamp == nil) {
		charged, err := r.chargeBudget(ctx, budget, pod, dryRun)
		if err != nil {
			return nil, err
		}
		if !charged {
			// The decision was for a pod that isn't ready: only that one may go.
			options = withVersion(options, pod.ResourceVersion)
		}
	}
	return r.evicted(ctx, plain, options)
}

func withVersion(o *metav1.DeleteOptions, rv string) *metav1.DeleteOptions {
	o = o.DeepCopy()
	if o.Preconditions == nil {
		o.Preconditions = &metav1.Preconditions{}
	}
	o.Preconditions.ResourceVersion = &rv
	return o
}

// evicted notes on the pod why it goes, and deletes it.
func (r *Registry) evicted(ctx context.Context, t Target, o *metav1.DeleteOptions) (*Result, error) {
	if !isDryRun(o.DryRun) {
		marked, err := r.markDisrupted(ctx, t, o)
		if err != nil {
			return nil, err
		}
		if p := o.Preconditions; p != nil && p.ResourceVersion != nil {
			o = withVersion(o, strconv.FormatInt(marked.Revision, 10))
		}
	}
	if _, err := r.Delete(ctx, t, o); err != nil {
		return nil, err
	}
	return &Result{Other: successStatus(http.StatusCreated), Created: true}, nil
}

// markDisrupted sets the DisruptionTarget condition.
func (r *Registry) markDisrupted(ctx context.Context, t Target, o *metav1.DeleteOptions) (*storage.Object, error) {
	c := r.Store.Collection(t.Resource)
	current, err := c.Get(ctx, t.Namespace, t.Name, storage.Fresh, 0)
	for {
		if err != nil {
			return nil, Status(err, t.groupResource(), t.Name)
		}
		obj, err := Decode(t.Resource, current)
		if err != nil {
			return nil, err
		}
		if err := checkDeletePreconditions(&t, obj, o); err != nil {
			return nil, err
		}
		pod := obj.(*corev1.Pod)
		if !setDisrupted(&pod.Status, metav1.NewTime(time.Now().Truncate(time.Second))) {
			return current, nil
		}
		raw, err := Encode(pod)
		if err != nil {
			return nil, err
		}
		stored, err := c.Update(ctx, current, raw, 0)
		if err == nil {
			return stored, nil
		}
		var conflict *storage.Conflict
		if !errors.As(err, &conflict) || conflict.Current == nil {
			return nil, Status(err, t.groupResource(), t.Name)
		}
		current = conflict.Current
		err = ctx.Err()
		if err != nil {
			return nil, Status(err, t.groupResource(), t.Name)
		}
	}
}

// setDisrupted reports whether the condition was not there already.
func setDisrupted(s *corev1.PodStatus, now metav1.Time) bool {
	want := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: now,
		Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Type != corev1.DisruptionTarget {
			continue
		}
		if c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			return false
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
		*c = want
		return true
	}
	s.Conditions = append(s.Conditions, want)
	return true
}

// ignoresBudget: pods that are over or not yet running, or already going,
// disrupt nothing.
func ignoresBudget(pod *corev1.Pod) bool {
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return true
	}
	return pod.DeletionTimestamp != nil
}

// budgetOf finds the pod's one disruption budget; more than one is an error.
func (r *Registry) budgetOf(ctx context.Context, pod *corev1.Pod) (*policyv1.PodDisruptionBudget, error) {
	if len(pod.Labels) == 0 {
		return nil, nil
	}
	res, ok := r.Scheme.Resource(policyv1.GroupName, "poddisruptionbudgets")
	if !ok {
		return nil, nil
	}
	list, err := r.Store.Collection(res).List(ctx, storage.ListOptions{Selection: storage.Selection{Namespace: pod.Namespace}})
	if err != nil {
		return nil, Status(err, res.GroupResource(), "")
	}
	var found *policyv1.PodDisruptionBudget
	for _, o := range list.Objects {
		obj, err := Decode(res, o)
		if err != nil {
			return nil, err
		}
		pdb := obj.(*policyv1.PodDisruptionBudget)
		sel, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
		if err != nil || !sel.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if found != nil {
			return nil, plain500("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
		}
		found = pdb
	}
	return found, nil
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// chargeBudget takes one disruption from the budget; false means that the pod
// may go without.
func (r *Registry) chargeBudget(ctx context.Context, pdb *policyv1.PodDisruptionBudget, pod *corev1.Pod, dryRun bool) (bool, error) {
	res, _ := r.Scheme.Resource(policyv1.GroupName, "poddisruptionbudgets")
	c := r.Store.Collection(res)
	current, err := c.Get(ctx, pdb.Namespace, pdb.Name, storage.Fresh, 0)
	for {
		if err != nil {
			return false, Status(err, res.GroupResource(), pdb.Name)
		}
		obj, err := Decode(res, current)
		if err != nil {
			return false, err
		}
		next := obj.(*policyv1.PodDisruptionBudget)
		if !ready(pod) && freeWhenUnready(next) {
			return false, nil
		}
		if err := disrupt(next, pod.Name, metav1.NewTime(time.Now().Truncate(time.Second))); err != nil {
			return false, err
		}
		if dryRun {
			return true, nil
		}
		raw, err := Encode(next)
		if err != nil {
			return false, err
		}
		_, err = c.Update(ctx, current, raw, 0)
		if err == nil {
			return true, nil
		}
		var conflict *storage.Conflict
		if !errors.As(err, &conflict) || conflict.Current == nil {
			return false, Status(err, res.GroupResource(), pdb.Name)
		}
		current = conflict.Current
		err = ctx.Err()
		if err != nil {
			return false, Status(err, res.GroupResource(), pdb.Name)
		}
	}
}

// freeWhenUnready: a pod that isn't ready counts against no budget when the
// policy says so or the application is healthy without it.
func freeWhenUnready(pdb *policyv1.PodDisruptionBudget) bool {
	if p := pdb.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return pdb.Status.CurrentHealthy >= pdb.Status.DesiredHealthy && pdb.Status.DesiredHealthy > 0
}

// disrupt charges the budget for one pod, or refuses with 429.
func disrupt(pdb *policyv1.PodDisruptionBudget, pod string, now metav1.Time) error {
	s := &pdb.Status
	switch {
	case s.ObservedGeneration < pdb.Generation:
		return tooManyDisruptions(pdb, 10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", pdb.Name))
	case s.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(pdbResource, pdb.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(s.DisruptedPods) > maxDisruptedPods:
		return apierrors.NewForbidden(pdbResource, pdb.Name, fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case s.DisruptionsAllowed == 0:
		return tooManyDisruptions(pdb, 0, disruptionText(pdb))
	}
	s.DisruptionsAllowed--
	if s.DisruptionsAllowed == 0 {
		setDisruptionAllowed(pdb, now)
	}
	if s.DisruptedPods == nil {
		s.DisruptedPods = map[string]metav1.Time{}
	}
	s.DisruptedPods[pod] = now
	return nil
}

var pdbResource = (&scheme.Resource{Group: policyv1.GroupName, Plural: "poddisruptionbudgets"}).GroupResource()

func disruptionText(pdb *policyv1.PodDisruptionBudget) string {
	for _, c := range pdb.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Status == metav1.ConditionFalse && c.Reason == policyv1.SyncFailedReason {
			return fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %v", pdb.Name, c.Message)
		}
	}
	return fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", pdb.Name, pdb.Status.DesiredHealthy, pdb.Status.CurrentHealthy)
}

func tooManyDisruptions(pdb *policyv1.PodDisruptionBudget, retry int, text string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retry)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: policyv1.DisruptionBudgetCause, Message: text,
	})
	return err
}

func setDisruptionAllowed(pdb *policyv1.PodDisruptionBudget, now metav1.Time) {
	for i := range pdb.Status.Conditions {
		c := &pdb.Status.Conditions[i]
		if c.Type != policyv1.DisruptionAllowedCondition {
			continue
		}
		if c.Status != metav1.ConditionFalse {
			c.LastTransitionTime = now
		}
		c.Status, c.Reason, c.ObservedGeneration = metav1.ConditionFalse, policyv1.InsufficientPodsReason, pdb.Generation
		return
	}
	pdb.Status.Conditions = append(pdb.Status.Conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason,
		ObservedGeneration: pdb.Generation, LastTransitionTime: now,
	})
}
