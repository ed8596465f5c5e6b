package statefulset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/dependents"
	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/revision"
	"xebec.dev/controller-manager/internal/write"
)

const name = "statefulset-controller"

// hashLabel is where revisions have their hash; pods name the revision.
const hashLabel = "controller.kubernetes.io/hash"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "statefulset",
	ServiceAccount: "statefulset-controller", EventSource: "statefulset-controller",
	Reads:  []string{"statefulsets", "pods", "persistentvolumeclaims", "controllerrevisions"},
	Writes: []string{"pods", "persistentvolumeclaims", "controllerrevisions", "statefulsets:status"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	sets      *cache.Replica[*appsv1.StatefulSet]
	pods      *cache.Replica[*corev1.Pod]
	claims    *cache.Replica[*corev1.PersistentVolumeClaim]
	revisions *cache.Replica[*appsv1.ControllerRevision]
	own       *write.Ledger[*appsv1.StatefulSet]
	written   *write.Ledger[*corev1.Pod]
	claimed   *write.Ledger[*corev1.PersistentVolumeClaim]
	history   *revision.Ledger
	queue     *workqueue.Queue[cache.Key]
	now       func() time.Time
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, sets: replica.Of[*appsv1.StatefulSet](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas),
		claims: replica.Of[*corev1.PersistentVolumeClaim](e.Replicas), revisions: replica.Of[*appsv1.ControllerRevision](e.Replicas),
		queue: e.Queue("statefulset"), now: time.Now,
	}
	r.own, r.written = write.NewLedger(r.sets), write.NewLedger(r.pods)
	r.claimed, r.history = write.NewLedger(r.claims), write.NewLedger(r.revisions)
	r.sets.OnChange(func(c cache.Change[*appsv1.StatefulSet]) { r.queue.Add(c.Key) })
	pods := dependents.Follow[*appsv1.StatefulSet, *corev1.Pod]{
		Kind: gvk, Queue: r.queue, Owners: r.sets,
		Selector: func(s *appsv1.StatefulSet) *metav1.LabelSelector { return s.Spec.Selector },
		May: func(s *appsv1.StatefulSet, p *corev1.Pod) bool {
			_, named := ordinalOf(s, p.Name)
			return named
		},
	}
	r.pods.OnChange(pods.Changed)
	revisions := dependents.Follow[*appsv1.StatefulSet, *appsv1.ControllerRevision]{Kind: gvk, Queue: r.queue, Owners: r.sets}
	r.revisions.OnChange(revisions.Changed)
	// A claim that goes away lets its pod be made anew, and so does one that
	// is no longer an earlier pod's.
	r.claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasNew && c.HasOld && apiequality.Semantic.DeepEqual(c.Old.OwnerReferences, c.New.OwnerReferences) {
			return
		}
		for s := range r.sets.Snapshot().In(c.Key.Namespace) {
			if len(s.Spec.VolumeClaimTemplates) > 0 {
				r.queue.Add(cache.KeyOf(s))
			}
		}
	})
	return e.Loop(name, r.queue, e.Config.WorkersOf("statefulset"), r.reconcile, r.sets, r.pods, r.claims, r.revisions), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	s, ok := r.sets.Snapshot().Lookup(key)
	if !ok {
		write.Forget(key, r.own, r.written, r.claimed, r.history)
		return nil
	}
	if ok, err := write.Settled(ctx, r.env.Write, key, r.own, r.written, r.claimed, r.history); err != nil {
		return err
	} else if !ok {
		return control.Unsettled()
	}
	pods, changed, err := r.claimPods(ctx, s)
	if err != nil {
		return err
	}
	if changed {
		return control.Unsettled()
	}
	current, update, all, err := r.versions(ctx, s)
	if err != nil || update.template == nil {
		return err
	}
	p := plan(observed{set: s, current: current, update: update, pods: pods, claim: func(n string) *corev1.PersistentVolumeClaim {
		c, _ := r.claims.Get(s.Namespace, n)
		return c
	}}, r.now())
	failed := r.apply(ctx, s, p)
	if err := r.writeStatus(ctx, s, p.Status); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed
	}
	if err := r.forgetOld(ctx, s, all, pods, p.Status); err != nil {
		return err
	}
	return control.Later(p.Again)
}

func (r *reconciler) claimPods(ctx context.Context, s *appsv1.StatefulSet) ([]*corev1.Pod, bool, error) {
	candidates := slices.DeleteFunc(owner.Candidates(r.pods.Snapshot(), replica.PodsByOwner, s), func(v *corev1.Pod) bool {
		_, ok := ordinalOf(s, v.Name)
		return !ok
	})
	claim := owner.Sort(s, owner.Selector(s.Spec.Selector), candidates)
	if !claim.Changes() {
		return claim.Owned, false, nil
	}
	return nil, true, owner.Apply(ctx, r.env.Write, r.written, s, owner.Kind{GroupVersionKind: gvk}, claim)
}

// versions finds or makes the revision of the set's template, and the one that
// its pods had before.
func (r *reconciler) versions(ctx context.Context, s *appsv1.StatefulSet) (current, update version, all []*appsv1.ControllerRevision, err error) {
	have := slices.Collect(r.revisions.Snapshot().By(replica.RevisionsByOwner, string(s.UID)))
	h, err := revision.Plan(revision.Owner{Object: s, GVK: gvk, Template: &s.Spec.Template, Collisions: s.Status.CollisionCount, HashLabel: hashLabel}, have)
	if err != nil {
		return current, update, nil, err
	}
	now, collision, err := h.Apply(ctx, r.env.Write)
	if err != nil {
		return current, update, nil, control.Retry(err)
	}
	if collision {
		status := *s.Status.DeepCopy()
		n := int32(1)
		if c := s.Status.CollisionCount; c != nil {
			n += *c
		}
		status.CollisionCount = &n
		return current, update, nil, r.writeStatus(ctx, s, status)
	}
	update = version{name: now.Name, template: &s.Spec.Template}
	current = update
	for _, v := range h.All {
		if v.Name == s.Status.CurrentRevision && v.Name != now.Name {
			t, err := revision.Template(v)
			if err != nil {
				return current, version{}, nil, err
			}
			current = version{name: v.Name, template: t}
		}
	}
	return current, update, h.All, nil
}

func (r *reconciler) writeStatus(ctx context.Context, s *appsv1.StatefulSet, status appsv1.StatefulSetStatus) error {
	if sameStatus(&s.Status, &status) {
		return nil
	}
	now := s.DeepCopy()
	now.Status = status
	return dependents.WriteStatus(ctx, r.env, r.own, now)
}

// apply does one after the other: a claim is there before its pod.
func (r *reconciler) apply(ctx context.Context, s *appsv1.StatefulSet, p Plan) error {
	for _, a := range p.Actions {
		if err := r.one(ctx, s, a); err != nil {
			if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (r *reconciler) one(ctx context.Context, s *appsv1.StatefulSet, a Action) error {
	key := cache.KeyOf(s)
	switch a.Do {
	case createClaim:
		q, err := client.CreateWrite(r.env.Client, a.Claim, client.WriteOptions{OmitObject: true})
		if err != nil {
			return err
		}
		res := r.env.Write.Do(ctx, q)
		r.claimed.Wrote(key, res)
		if apierrors.IsAlreadyExists(res.Err) {
			return nil
		}
		r.event(s, "create", fmt.Sprintf("Claim %s Pod %s in StatefulSet %s", a.Claim.Name, podName(s, a.Ordinal), s.Name), "success", res.Err)
		return res.Err
	case ownClaim:
		q, err := client.UpdateWrite(r.env.Client, a.Claim, client.WriteOptions{OmitObject: true})
		if err != nil {
			return err
		}
		res := r.env.Write.Do(ctx, q)
		r.claimed.Wrote(key, res)
		if apierrors.IsNotFound(res.Err) {
			return nil
		}
		return control.Retry(res.Err)
	case createPod:
		q, err := client.CreateWrite(r.env.Client, a.Pod, client.WriteOptions{OmitObject: true})
		if err != nil {
			return err
		}
		res := r.env.Write.Do(ctx, q)
		r.written.Wrote(key, res)
		if apierrors.IsAlreadyExists(res.Err) {
			return control.Unsettled()
		}
		r.event(s, "create", fmt.Sprintf("Pod %s in StatefulSet %s", a.Pod.Name, s.Name), "successful", res.Err)
		return res.Err
	case labelPod:
		return r.label(ctx, s, a)
	}
	if a.Reason != "" {
		kind := control.Warning
		if a.Reason == "RecreatingTerminatedPod" {
			kind = control.Normal
		}
		r.env.Events.Event(s, kind, a.Reason, a.Message)
	}
	err := client.Delete[*corev1.Pod](ctx, r.env.Client, a.Pod.Namespace, a.Pod.Name, client.DeleteOptions{UID: a.Pod.UID})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || errors.Is(err, client.ErrOutcomeUnknown) {
		r.written.Deleted(key, a.Pod)
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	r.event(s, "delete", fmt.Sprintf("Pod %s in StatefulSet %s", a.Pod.Name, s.Name), "successful", err)
	return err
}

// event tells how something went; well is the word for well.
func (r *reconciler) event(s *appsv1.StatefulSet, verb, what, well string, err error) {
	noun := map[string]string{"create": "Create", "delete": "Delete"}[verb]
	if err == nil {
		r.env.Events.Eventf(s, control.Normal, "Successful"+noun, "%s %s %s", verb, what, well)
		return
	}
	r.env.Events.Eventf(s, control.Warning, "Failed"+noun, "%s %s failed error: %s", verb, what, err)
}

func (r *reconciler) label(ctx context.Context, s *appsv1.StatefulSet, a Action) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": a.Pod.UID, "labels": identityLabels(s, a.Ordinal)}})
	if err != nil {
		return err
	}
	q, err := client.PatchWrite[*corev1.Pod](r.env.Client, a.Pod.Namespace, a.Pod.Name, types.MergePatchType, patch, client.WriteOptions{OmitObject: true})
	if err != nil {
		return err
	}
	res := r.env.Write.Do(ctx, q)
	r.written.Wrote(cache.KeyOf(s), res)
	if apierrors.IsNotFound(res.Err) {
		return nil
	}
	return res.Err
}

// forgetOld removes revisions that nobody has and history does not keep.
func (r *reconciler) forgetOld(ctx context.Context, s *appsv1.StatefulSet, all []*appsv1.ControllerRevision, pods []*corev1.Pod, status appsv1.StatefulSetStatus) error {
	live := map[string]bool{status.CurrentRevision: true, status.UpdateRevision: true}
	for _, v := range pods {
		live[revisionOf(v)] = true
	}
	old := revision.Outdated(all, s.Spec.RevisionHistoryLimit, func(v *appsv1.ControllerRevision) bool { return live[v.Name] })
	return revision.Remove(ctx, r.env.Write, r.history, cache.KeyOf(s), old)
}
