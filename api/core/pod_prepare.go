package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

// preparePodCreate makes a new pod's first status and completes what depends
// on the whole pod.
func preparePodCreate(c scheme.Context, p *corev1.Pod) {
	class := p.Status.QOSClass
	if class == "" {
		class = PodQOS(&p.Spec)
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: class}
	dropGatedFields(&p.Spec, nil)
	positiveGrace(&p.Spec)
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = []corev1.PodCondition{{
			Type:               corev1.PodScheduled,
			Status:             corev1.ConditionFalse,
			Reason:             corev1.PodReasonSchedulingGated,
			Message:            "Scheduling is blocked due to non-empty scheduling gates",
			LastTransitionTime: c.Now,
		}}
	}
	selectOwnLabels(p)
}

// positiveGrace takes a negative grace period for an impatient user's way to
// say "as short as can be".
func positiveGrace(s *corev1.PodSpec) {
	if g := s.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		s.TerminationGracePeriodSeconds = new(int64(1))
	}
}

// selectOwnLabels turns matchLabelKeys and mismatchLabelKeys into requirements
// with the values of the pod's own labels.
func selectOwnLabels(p *corev1.Pod) {
	if a := p.Spec.Affinity; a != nil {
		if t := a.PodAffinity; t != nil {
			ownAffinityLabels(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
		if t := a.PodAntiAffinity; t != nil {
			ownAffinityLabels(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
		}
	}
	for i := range p.Spec.TopologySpreadConstraints {
		t := &p.Spec.TopologySpreadConstraints[i]
		requireLabels(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, p.Labels)
	}
}

func ownAffinityLabels(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, labels map[string]string) {
	one := func(t *corev1.PodAffinityTerm) {
		requireLabels(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
		requireLabels(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, labels)
	}
	for i := range required {
		one(&required[i])
	}
	for i := range preferred {
		one(&preferred[i].PodAffinityTerm)
	}
}

func requireLabels(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, labels map[string]string) {
	if s == nil {
		return
	}
	for _, k := range keys {
		if v, ok := labels[k]; ok {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: k, Operator: op, Values: []string{v}})
		}
	}
}

func preparePodUpdate(_ scheme.Context, p, old *corev1.Pod) {
	p.Status = old.Status
	dropGatedFields(&p.Spec, &old.Spec)
	positiveGrace(&p.Spec)
}

// preparePodStatusUpdate keeps the spec. Old kubelets forget the owners and
// the quality of service, which don't change anyway.
func preparePodStatusUpdate(_ scheme.Context, p, old *corev1.Pod) {
	p.Spec = old.Spec
	p.OwnerReferences = old.OwnerReferences
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
	if p.Status.ObservedGeneration == 0 {
		p.Status.ObservedGeneration = old.Status.ObservedGeneration
	}
	keepConditionGenerations(p.Status.Conditions, old.Status.Conditions)
}

// keepConditionGenerations keeps what writers leave out that don't know
// observedGeneration.
func keepConditionGenerations(now, old []corev1.PodCondition) {
	for i := range now {
		if now[i].ObservedGeneration != 0 {
			continue
		}
		for j := range old {
			if old[j].Type == now[i].Type {
				now[i].ObservedGeneration = old[j].ObservedGeneration
				break
			}
		}
	}
}
