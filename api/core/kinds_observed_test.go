package core_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/core"
	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

// kinds are those with rules in this package, pods aside.
var kinds = []string{
	"ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim",
	"PodTemplate", "ReplicationController", "ResourceQuota", "Secret", "Service", "ServiceAccount",
}

func TestObserved(t *testing.T) {
	quota := "charged by admission"
	cluster := "decided by the cluster's address ranges and allocations"
	observedtest.RunSequences(t, scheme.New(surrounded(core.Resources())), observedtest.Options{Kinds: kinds, Skip: map[string]string{
		"misc-groups/event/default-namespace": "all is replayed in one namespace",

		"core/resourcequota/best-effort": quota, "core/resourcequota/compute": quota, "core/resourcequota/configmaps": quota,
		"core/resourcequota/count": quota, "core/resourcequota/cpu-alias": quota, "core/resourcequota/pods": quota,
		"core/resourcequota/services": quota, "core/resourcequota/dry-run": quota,

		"core/service/clusterip-chosen": cluster,
	}},
		"core-other.jsonl", "core-service.jsonl", "storage.jsonl", "misc-groups.jsonl",
		"machinery-verbs.jsonl", "machinery-patch-apply.jsonl", "machinery-negotiation.jsonl", "machinery-list-watch.jsonl",
		"node-restriction.jsonl")
}

// surrounded does to the objects what admission and allocation do in a server.
func surrounded(resources []scheme.Resource) []scheme.Resource {
	for i := range resources {
		s := &resources[i].Strategy
		prepare := s.PrepareCreate
		s.PrepareCreate = func(c scheme.Context, obj runtime.Object) {
			admit(obj)
			if prepare != nil {
				prepare(c, obj)
			}
		}
	}
	return resources
}

func admit(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Node:
		notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
		if !slices.ContainsFunc(o.Spec.Taints, func(t corev1.Taint) bool { return t.MatchTaint(&notReady) }) {
			o.Spec.Taints = append(o.Spec.Taints, notReady)
		}
	case *corev1.PersistentVolume:
		o.Finalizers = append(o.Finalizers, "kubernetes.io/pv-protection")
	case *corev1.PersistentVolumeClaim:
		o.Finalizers = append(o.Finalizers, "kubernetes.io/pvc-protection")
	}
}
