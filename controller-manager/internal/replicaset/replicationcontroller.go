package replicaset

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

// ReplicationControllerSpec is of the controller of ReplicationControllers,
// which are ReplicaSets of an older form.
var ReplicationControllerSpec = control.Spec{
	Name: "replicationcontroller-controller", Alias: "replicationcontroller",
	ServiceAccount: "replication-controller", EventSource: "replication-controller",
	Reads:  []string{"replicationcontrollers", "pods"},
	Writes: []string{"pods", "replicationcontrollers:status"},
	New: func(e *control.Env) (control.Runner, error) {
		return newController(e, &kind[*corev1.ReplicationController]{
			spec: "replicationcontroller-controller", queue: "replicationmanager", gvk: corev1.SchemeGroupVersion.WithKind("ReplicationController"),
			workers: e.Config.WorkersOf("rc"), objects: replica.Of[*corev1.ReplicationController](e.Replicas),
			set: asSet, status: withStatus, untold: true,
			siblings: func(*corev1.ReplicationController) []*appsv1.ReplicaSet { return nil },
		})
	},
}

func asSet(rc *corev1.ReplicationController) *appsv1.ReplicaSet {
	s := &appsv1.ReplicaSet{
		ObjectMeta: rc.ObjectMeta,
		Spec: appsv1.ReplicaSetSpec{
			Replicas: rc.Spec.Replicas, MinReadySeconds: rc.Spec.MinReadySeconds, Selector: &metav1.LabelSelector{MatchLabels: rc.Spec.Selector},
		},
		Status: appsv1.ReplicaSetStatus{
			Replicas: rc.Status.Replicas, FullyLabeledReplicas: rc.Status.FullyLabeledReplicas, ReadyReplicas: rc.Status.ReadyReplicas,
			AvailableReplicas: rc.Status.AvailableReplicas, ObservedGeneration: rc.Status.ObservedGeneration,
		},
	}
	if rc.Spec.Template != nil {
		s.Spec.Template = *rc.Spec.Template
	}
	for _, c := range rc.Status.Conditions {
		s.Status.Conditions = append(s.Status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return s
}

func withStatus(rc *corev1.ReplicationController, s appsv1.ReplicaSetStatus) *corev1.ReplicationController {
	rc = rc.DeepCopy()
	rc.Status = corev1.ReplicationControllerStatus{
		Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas,
		AvailableReplicas: s.AvailableReplicas, ObservedGeneration: s.ObservedGeneration,
	}
	for _, c := range s.Conditions {
		rc.Status.Conditions = append(rc.Status.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return rc
}
