package daemonset

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/placement"
	"xebec.dev/controller-manager/internal/pod"
)

var gvk = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// tolerations that daemons' pods have beyond those of their template: what
// would drive other pods off a node, or keep them from it, is no reason for
// daemons.
func tolerations(spec *corev1.PodSpec) []corev1.Toleration {
	out := slices.Clone(spec.Tolerations)
	add := func(key string, effect corev1.TaintEffect) {
		t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
		for i := range out {
			if have := &out[i]; have.Key == key && have.Effect == effect && (have.Operator == t.Operator) {
				*have = t
				return
			}
		}
		out = append(out, t)
	}
	add(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if spec.HostNetwork {
		add(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
	return out
}

// eligible reports whether a node should get the set's pod, and whether one
// that is there may stay.
func eligible(ds *appsv1.DaemonSet, node *corev1.Node) (should, may bool) {
	spec := &ds.Spec.Template.Spec
	if spec.NodeName != "" && spec.NodeName != node.Name || !placement.Matches(spec, node) {
		return false, false
	}
	t := tolerations(spec)
	if placement.Untolerated(t, node.Spec.Taints, corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule) != nil {
		return false, placement.Untolerated(t, node.Spec.Taints, corev1.TaintEffectNoExecute) == nil
	}
	return true, true
}

// newPod is the set's pod for a node. The scheduler binds it: its affinity
// leaves one node only.
func newPod(ds *appsv1.DaemonSet, node, hash string) *corev1.Pod {
	p := pod.FromTemplate(&ds.Spec.Template, ds.Namespace, ds.Name, owner.Ref(ds, gvk))
	p.Spec.Tolerations = tolerations(&p.Spec)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	if g := ds.Annotations[appsv1.DeprecatedTemplateGeneration]; g != "" {
		p.Labels[generationLabel] = g
	}
	p.Labels[appsv1.ControllerRevisionHashLabelKey] = hash
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &corev1.Affinity{}
	}
	if p.Spec.Affinity.NodeAffinity == nil {
		p.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
	}}}
	return p
}

// generationLabel is how the pods of a template were told before there were
// revisions.
const generationLabel = "pod-template-generation"

// nodeOf a pod: where it is, or is to be.
func nodeOf(p *corev1.Pod) string {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName
	}
	a := p.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, r := range t.MatchFields {
			if r.Key == metav1.ObjectNameField && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1 {
				return r.Values[0]
			}
		}
	}
	return ""
}
