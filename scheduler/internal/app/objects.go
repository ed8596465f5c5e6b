package app

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/defaultpreemption"
	"xebec.dev/scheduler/internal/plugins/podtopologyspread"
	"xebec.dev/scheduler/internal/volumes"
)

// objects beside nodes and pods that plugins look at. The loop's goroutine
// owns them.
type objects struct {
	owners  *podtopologyspread.Owners
	budgets feed.Table[*policyv1.PodDisruptionBudget]
	volumes *volumes.Volumes
}

func newObjects() *objects {
	return &objects{owners: podtopologyspread.NewOwners(), volumes: volumes.New()}
}

func (o *objects) budgetsOf(namespace string) []defaultpreemption.Budget {
	var out []defaultpreemption.Budget
	for _, b := range o.budgets.In(namespace) {
		out = append(out, defaultpreemption.BudgetOf(b))
	}
	return out
}

// keep fills a table.
func keep[T scheme.Object](f *feeds, t *feed.Table[T], fields ...string) {
	followAll(f, feed.Options{Fields: fields}, t.Apply)
}

// tell fills a table and wakes pods that wait for such objects.
func tell[T scheme.Object](f *feeds, object framework.Object, apply func([]feed.Change[T])) {
	followAll(f, feed.Options{}, func(changes []feed.Change[T]) {
		apply(changes)
		var none T
		for _, c := range changes {
			var old, now any
			if any(c.Old) != any(none) {
				old = c.Old
			}
			if any(c.New) != any(none) {
				now = c.New
			}
			f.l.Changed(object, old, now)
		}
	})
}

func (f *feeds) objects(o *objects) {
	tell(f, framework.Volume, o.volumes.PersistentVolumes)
	tell(f, framework.Claim, o.volumes.Claims)
	tell(f, framework.StorageClass, o.volumes.Classes)
	tell(f, framework.CSINode, o.volumes.CSINodes)
	tell(f, framework.CSIDriver, o.volumes.Drivers)
	tell(f, framework.CSIStorageCapacity, o.volumes.Capacities)
	tell(f, framework.VolumeAttachment, o.volumes.Attachments)
	keep[*corev1.Service](f, &o.owners.Services, "spec.selector")
	keep[*corev1.ReplicationController](f, &o.owners.Replications, "spec.selector")
	keep[*appsv1.ReplicaSet](f, &o.owners.ReplicaSets, "spec.selector")
	keep[*appsv1.StatefulSet](f, &o.owners.StatefulSets, "spec.selector")
	keep[*policyv1.PodDisruptionBudget](f, &o.budgets, "spec.selector", "status.disruptionsAllowed", "status.disruptedPods")
}
