package disruption

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/catalog"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "disruption-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "disruption",
	ServiceAccount: name, EventSource: "controllermanager",
	Reads:  []string{"poddisruptionbudgets", "pods", "replicasets", "replicationcontrollers", "deployments", "statefulsets", "customresourcedefinitions", "scales of others"},
	Writes: []string{"poddisruptionbudgets:status", "pods:status.conditions (DisruptionTarget, stale)"},
	New:    newController,
}

const workers = 2

type reconciler struct {
	env     *control.Env
	budgets *cache.Replica[*policyv1.PodDisruptionBudget]
	pods    *cache.Replica[*corev1.Pod]
	scales  *scales
}

func newController(e *control.Env) (control.Runner, error) {
	s := e.Replicas
	definitions := replica.Of[*apiextensionsv1.CustomResourceDefinition](s)
	r := &reconciler{
		env: e, budgets: replica.Of[*policyv1.PodDisruptionBudget](s), pods: replica.Of[*corev1.Pod](s),
		scales: &scales{
			client: e.Client, catalog: catalog.New(e.Client.Scheme(), definitions), sets: replica.Of[*appsv1.ReplicaSet](s),
			controllers: replica.Of[*corev1.ReplicationController](s), deployments: replica.Of[*appsv1.Deployment](s), stateful: replica.Of[*appsv1.StatefulSet](s),
		},
	}
	q, stales := e.Queue("disruption"), e.Queue("stale_pod_disruption")
	r.budgets.OnChange(func(c cache.Change[*policyv1.PodDisruptionBudget]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		for b := range r.budgets.Snapshot().In(c.Key.Namespace) {
			if c.HasNew && covers(b, c.New) || c.HasOld && covers(b, c.Old) {
				q.Add(cache.KeyOf(b))
			}
		}
		if c.HasNew && stale(c.New, time.Now()) >= 0 {
			stales.Add(c.Key)
		}
	})
	r.scales.deployments.OnChange(func(c cache.Change[*appsv1.Deployment]) {
		if c.HasNew && c.HasOld && replicas(c.Old.Spec.Replicas) == replicas(c.New.Spec.Replicas) {
			return
		}
		for b := range r.budgets.Snapshot().In(c.Key.Namespace) {
			q.Add(cache.KeyOf(b))
		}
	})
	synced := []cache.Synced{r.budgets, r.pods, definitions, r.scales.sets, r.scales.controllers, r.scales.deployments, r.scales.stateful}
	budgets := e.Loop(name, q, workers, r.reconcile, synced...)
	pods := e.Loop(name, stales, 1, r.reset, r.pods)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, budgets.Run, pods.Run) }), nil
}

// covers reports whether a budget is about a pod. A selector that is empty is
// about all pods, none about none.
func covers(b *policyv1.PodDisruptionBudget, p *corev1.Pod) bool {
	if b.Spec.Selector == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	return err == nil && s.Matches(labels.Set(p.Labels))
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	b, ok := r.budgets.Snapshot().Lookup(key)
	if !ok || b.DeletionTimestamp != nil {
		return nil
	}
	var pods []*corev1.Pod
	for p := range r.pods.Snapshot().In(key.Namespace) {
		if covers(b, p) {
			pods = append(pods, p)
		}
	}
	p := plan(observed{budget: b, pods: pods, now: time.Now(), scale: func(p *corev1.Pod, ref *metav1.OwnerReference) (types.UID, int32, error) {
		return r.scales.of(ctx, p, ref)
	}})
	r.tell(b, pods, p)
	if p.Status != nil {
		b = b.DeepCopy()
		b.Status = *p.Status
		if _, err := client.UpdateStatus(ctx, r.env.Client, b, client.WriteOptions{OmitObject: true}); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			if apierrors.IsConflict(err) {
				return control.Retry(err)
			}
			return fmt.Errorf("write the status of budget %s: %w", key, err)
		}
	}
	if p.Failed != nil {
		return fmt.Errorf("budget %s: %w", key, p.Failed)
	}
	return control.Later(p.Again)
}

// tell records events.
func (r *reconciler) tell(b *policyv1.PodDisruptionBudget, pods []*corev1.Pod, p Plan) {
	if len(pods) == 0 {
		r.env.Events.Event(b, control.Normal, "NoPods", "No matching pods found")
	}
	if p.Failed != nil {
		r.env.Events.Eventf(b, control.Warning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", p.Failed)
	}
	if p.Unmanaged {
		r.env.Events.Eventf(b, control.Warning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", metav1.FormatLabelSelector(b.Spec.Selector))
	}
	for _, late := range p.Late {
		r.env.Events.Eventf(late, control.Warning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", b.Namespace, b.Name)
	}
}

// reset takes back the mark of a disruption that did not come.
func (r *reconciler) reset(ctx context.Context, key cache.Key) error {
	p, ok := r.pods.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	if left := stale(p, time.Now()); left != 0 {
		return control.Later(left)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID, "resourceVersion": p.ResourceVersion},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": corev1.DisruptionTarget, "status": corev1.ConditionFalse, "reason": nil, "message": nil, "lastTransitionTime": metav1.Now(),
		}}},
	})
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Pod](ctx, r.env.Client, p.Namespace, p.Name, types.StrategicMergePatchType, patch, client.WriteOptions{Subresource: "status", OmitObject: true})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	if apierrors.IsConflict(err) {
		return control.Retry(err)
	}
	return fmt.Errorf("take back the disruption of pod %s: %w", key, err)
}
