package core_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

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
	pipeline := "about the request, not the kind"
	observedtest.RunSequences(t, scheme.New(surrounded(core.Resources())), observedtest.Options{Kinds: kinds, Skip: map[string]string{
		"misc-groups/event/default-namespace": "all is replayed in one namespace",

		"core/resourcequota/best-effort": quota, "core/resourcequota/compute": quota, "core/resourcequota/configmaps": quota,
		"core/resourcequota/count": quota, "core/resourcequota/cpu-alias": quota, "core/resourcequota/pods": quota,
		"core/resourcequota/services": quota, "core/resourcequota/dry-run": quota,

		"core/service/clusterip-chosen": cluster, "core/service/clusterip-value-0": cluster, "core/service/clusterip-value-4": cluster,
		"core/service/nodeport-taken": cluster, "core/service/ports-nodeport-negative": cluster,

		"machinery-negotiation/table/pvc": "needs a claim that a finalizer holds", "machinery-negotiation/table/limit": pipeline,
		"machinery-negotiation/table/create": pipeline, "machinery-negotiation/table/v1beta1": pipeline,
	}},
		"core-other.jsonl", "core-service.jsonl", "storage.jsonl", "misc-groups.jsonl", "machinery-negotiation.jsonl", "node-restriction.jsonl")
}

// surrounded does to the objects what admission and allocation do in a server.
func surrounded(resources []scheme.Resource) []scheme.Resource {
	for i := range resources {
		s := &resources[i].Strategy
		if resources[i].Kind == "Service" {
			allocateBefore(s)
		}
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

// allocateBefore gives services addresses of an IPv4 cluster and node ports
// before they are validated.
func allocateBefore(s *scheme.Strategy) {
	create, update := s.ValidateCreate, s.ValidateUpdate
	s.ValidateCreate = func(obj runtime.Object) field.ErrorList {
		if errs := allocate(obj.(*corev1.Service), nil); len(errs) > 0 {
			return errs
		}
		return create(obj)
	}
	s.ValidateUpdate = func(obj, old runtime.Object) field.ErrorList {
		if errs := allocate(obj.(*corev1.Service), old.(*corev1.Service)); len(errs) > 0 {
			return errs
		}
		return update(obj, old)
	}
}

func allocate(s, old *corev1.Service) field.ErrorList {
	if errs := core.InitServiceFamilies(s, old, []corev1.IPFamily{corev1.IPv4Protocol}); len(errs) > 0 {
		return errs
	}
	if core.ServiceNeedsClusterIP(s) && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.0.0.1", []string{"10.0.0.1"}
	}
	if core.ServiceHasNodePorts(s) && (s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts) {
		for i := range s.Spec.Ports {
			if s.Spec.Ports[i].NodePort == 0 {
				s.Spec.Ports[i].NodePort = 30000 + int32(i)
			}
		}
	}
	if core.ServiceNeedsHealthCheck(s) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = 31000
	}
	return nil
}
