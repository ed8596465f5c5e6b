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

// TestObservedPods replays what Kubernetes answered about pods.
func TestObservedPods(t *testing.T) {
	resources := core.Resources()
	for i := range resources {
		if resources[i].Kind == "Pod" {
			admitPods(&resources[i].Strategy)
		}
	}
	admission := "admission decides"
	observedtest.RunSequences(t, scheme.New(resources), observedtest.Options{Kinds: []string{"Pod"}, Skip: map[string]string{
		"core/pod/priority-critical": admission, "machinery-verbs/admission/priority": admission, "core/pod/put-no-rv": admission,
		"core/pod/log-unbound":          "needs a kubelet",
		"core/pod/owner-bad":            "v1.37 words metadata errors anew",
		"core/pod/pod-resources-bad":    "recorded in random order",
		"core/pod/volume-projected-bad": "v1.37 has clusterTrustBundle, whose field the recording drops",
	}},
		"core-pod.jsonl", "resource-claims.jsonl", "machinery-verbs.jsonl", "machinery-patch-apply.jsonl",
		"machinery-negotiation.jsonl", "machinery-list-watch.jsonl", "node-restriction.jsonl", "rbac-auth.jsonl")
}

// admitPods does what a server's default admission does to a pod.
func admitPods(s *scheme.Strategy) {
	prepare := s.PrepareCreate
	s.PrepareCreate = func(c scheme.Context, obj runtime.Object) {
		p := obj.(*corev1.Pod)
		tolerate(p, corev1.TaintNodeNotReady)
		tolerate(p, corev1.TaintNodeUnreachable)
		if p.Spec.Priority == nil {
			p.Spec.Priority = new(int32)
		}
		if p.Spec.PreemptionPolicy == nil {
			p.Spec.PreemptionPolicy = new(corev1.PreemptLowerPriority)
		}
		prepare(c, obj)
	}
}

func tolerate(p *corev1.Pod, key string) {
	mine := func(t corev1.Toleration) bool {
		return (t.Key == key || t.Key == "" && t.Operator == corev1.TolerationOpExists) && (t.Effect == "" || t.Effect == corev1.TaintEffectNoExecute)
	}
	if !slices.ContainsFunc(p.Spec.Tolerations, mine) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{
			Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300)),
		})
	}
}
