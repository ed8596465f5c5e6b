package core

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/diff"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/internalform"
)

// validatePodAgain checks a changed pod. Only when it breaks a rule it is
// worth looking at what the old one was allowed.
func validatePodAgain(p, old *corev1.Pod) field.ErrorList {
	errs := ValidatePod(p)
	if len(errs) == 0 {
		return nil
	}
	if r := relaxFor(&old.Spec); r != (relaxations{}) {
		return validatePod(p, r)
	}
	return errs
}

// relaxFor finds the rules that a stored pod or template breaks.
func relaxFor(s *corev1.PodSpec) relaxations {
	var r relaxations
	eachOwnContainer(s, func(c *corev1.Container) {
		m := c.SecurityContext != nil && c.SecurityContext.ProcMount != nil && *c.SecurityContext.ProcMount == corev1.UnmaskedProcMount
		r.unmasked = r.unmasked || m && !no(s.HostUsers)
	})
	for i := range s.TopologySpreadConstraints {
		r.badSpreadValues = r.badSpreadValues || metav1validation.LabelSelectorHasInvalidLabelValue(s.TopologySpreadConstraints[i].LabelSelector)
	}
	r.projectedTokens = s.ServiceAccountName == "" && slices.ContainsFunc(s.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool { return p.ServiceAccountToken != nil })
	})
	if sc := s.SecurityContext; sc != nil {
		r.hostSysctls = (s.HostNetwork || s.HostIPC) && len(sc.Sysctls) > 0
	}
	loose := func(ip string) bool { return !canonicalIP(ip) }
	r.looseIPs = s.DNSConfig != nil && slices.ContainsFunc(s.DNSConfig.Nameservers, loose) ||
		slices.ContainsFunc(s.HostAliases, func(a corev1.HostAlias) bool { return loose(a.IP) })
	relaxForAffinity(s.Affinity, &r)
	return r
}

func relaxForAffinity(a *corev1.Affinity, r *relaxations) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil && n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, t := range n.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, e := range t.MatchExpressions {
				r.badNodeValues = r.badNodeValues || slices.ContainsFunc(e.Values, func(v string) bool { return len(utilvalidation.IsValidLabelValue(v)) > 0 })
			}
		}
	}
	bad := func(t *corev1.PodAffinityTerm) {
		r.badSelectorValues = r.badSelectorValues || metav1validation.LabelSelectorHasInvalidLabelValue(t.LabelSelector) ||
			metav1validation.LabelSelectorHasInvalidLabelValue(t.NamespaceSelector)
	}
	all := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			bad(&required[i])
		}
		for i := range preferred {
			bad(&preferred[i].PodAffinityTerm)
		}
	}
	if t := a.PodAffinity; t != nil {
		all(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if t := a.PodAntiAffinity; t != nil {
		all(t.RequiredDuringSchedulingIgnoredDuringExecution, t.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

// ValidatePodUpdate checks a pod and that little of it has changed: a running
// pod can only be replaced.
func ValidatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	errs := validatePodAgain(p, old)
	errs = append(errs, validateAnnotationsUpdate(p.Annotations, old.Annotations, annotationsPath)...)
	path := specPath
	more, stop := validateImageUpdates(p.Spec.Containers, old.Spec.Containers, path.Child("containers"))
	errs = append(errs, more...)
	if stop {
		return errs
	}
	more, stop = validateImageUpdates(p.Spec.InitContainers, old.Spec.InitContainers, path.Child("initContainers"))
	errs = append(errs, more...)
	if stop {
		return errs
	}
	more, stop = validateDeadlineUpdate(p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds"))
	errs = append(errs, more...)
	if stop {
		return errs
	}
	errs = append(errs, onlyAddedTolerations(p.Spec.Tolerations, old.Spec.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, onlyRemovedGates(p.Spec.SchedulingGates, old.Spec.SchedulingGates, path.Child("schedulingGates"))...)
	if samePodSpec(&p.Spec, &old.Spec) {
		return errs
	}
	return append(errs, validateSpecUpdate(&p.Spec, &old.Spec, path)...)
}

// validateImageUpdates allows other images but no other list of containers.
func validateImageUpdates(now, old []corev1.Container, path *field.Path) (errs field.ErrorList, stop bool) {
	if len(now) != len(old) {
		return field.ErrorList{field.Forbidden(path, "pod updates may not add or remove containers")}, true
	}
	for i := range now {
		if now[i].Image == "" {
			errs = append(errs, field.Required(path.Index(i).Child("image"), ""))
		}
	}
	return errs, false
}

// validateDeadlineUpdate lets a deadline be set and be moved nearer.
func validateDeadlineUpdate(now, old *int64, p *field.Path) (errs field.ErrorList, stop bool) {
	switch {
	case now == nil && old == nil:
	case now == nil:
		errs = append(errs, field.Invalid(p, now, "must not update from a positive integer to nil value"))
	case *now < 0 || *now > math.MaxInt32:
		return field.ErrorList{field.Invalid(p, *now, utilvalidation.InclusiveRangeError(0, math.MaxInt32))}, true
	case old != nil && *old < *now:
		return field.ErrorList{field.Invalid(p, *now, "must be less than or equal to previous value")}, true
	}
	return errs, false
}

func onlyAddedTolerations(now, old []corev1.Toleration, p *field.Path) field.ErrorList {
	for i := range old {
		kept := slices.ContainsFunc(now, func(t corev1.Toleration) bool {
			o := &old[i]
			return t.Key == o.Key && t.Operator == o.Operator && t.Value == o.Value && t.Effect == o.Effect
		})
		if !kept {
			return field.ErrorList{field.Forbidden(p, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return ValidateTolerations(now, p)
}

func onlyRemovedGates(now, old []corev1.PodSchedulingGate, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range now {
		if !hasGate(old, now[i].Name) {
			errs = append(errs, field.Forbidden(p.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", now[i].Name)))
		}
	}
	return errs
}

const updatableFields = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// validateSpecUpdate undoes the changes that are allowed; whatever still
// differs from the old spec is not.
func validateSpecUpdate(now, old *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	s := now.DeepCopy()
	for i := range s.Containers {
		s.Containers[i].Image = old.Containers[i].Image
	}
	for i := range s.InitContainers {
		s.InitContainers[i].Image = old.InitContainers[i].Image
	}
	s.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	s.Tolerations = old.Tolerations
	s.SchedulingGates = old.SchedulingGates
	if g := old.TerminationGracePeriodSeconds; g != nil && *g < 0 && s.TerminationGracePeriodSeconds != nil && *s.TerminationGracePeriodSeconds == 1 {
		s.TerminationGracePeriodSeconds = g
	}
	if len(old.SchedulingGates) > 0 {
		errs = append(errs, undoDirectives(s, old, path)...)
	}
	if !apiequality.Semantic.DeepEqual(*s, *old) {
		difference := diff.Diff(internalform.Of(old), internalform.Of(s))
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("pod updates may not change fields other than %s\n%v", updatableFields, difference)))
	}
	return errs
}

// undoDirectives checks and undoes what may be made narrower while a pod waits
// at a gate: where it may be scheduled.
func undoDirectives(s, old *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !apiequality.Semantic.DeepEqual(s.NodeSelector, old.NodeSelector) {
		for k, v := range old.NodeSelector {
			if w, ok := s.NodeSelector[k]; !ok || w != v {
				errs = append(errs, field.Invalid(path.Child("nodeSelector"), s.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
				break
			}
		}
		s.NodeSelector = old.NodeSelector
	}
	var was *corev1.NodeAffinity
	if old.Affinity != nil {
		was = old.Affinity.NodeAffinity
	}
	var now *corev1.NodeAffinity
	if s.Affinity != nil {
		now = s.Affinity.NodeAffinity
	}
	if apiequality.Semantic.DeepEqual(now, was) {
		return errs
	}
	errs = append(errs, narrowerAffinity(now, was, path.Child("affinity", "nodeAffinity"))...)
	switch {
	case s.Affinity == nil:
		s.Affinity = old.Affinity.DeepCopy()
		if old.Affinity.PodAffinity != nil || old.Affinity.PodAntiAffinity != nil {
			s.Affinity.PodAffinity, s.Affinity.PodAntiAffinity = nil, nil
		}
	case old.Affinity == nil && s.Affinity.PodAffinity == nil && s.Affinity.PodAntiAffinity == nil:
		s.Affinity = nil
	default:
		s.Affinity.NodeAffinity = was
	}
	return errs
}

// narrowerAffinity allows more requirements in each term, but no other terms:
// a term more would widen the choice.
func narrowerAffinity(now, old *corev1.NodeAffinity, p *field.Path) field.ErrorList {
	if old == nil || old.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	was := old.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if len(was) == 0 {
		return nil
	}
	var terms []corev1.NodeSelectorTerm
	if now != nil && now.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = now.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	p = p.Child(requiredTerms, "nodeSelectorTerms")
	if len(terms) != len(was) {
		return field.ErrorList{field.Invalid(p, internalform.Of(terms), "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range terms {
		if !narrowerTerm(&terms[i], &was[i]) {
			errs = append(errs, field.Invalid(p.Index(i), internalform.Of(&terms[i]), "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

// narrowerTerm reports whether a term has all requirements of the old one. An
// empty term matches nothing, so that anything added would widen it.
func narrowerTerm(now, old *corev1.NodeSelectorTerm) bool {
	if len(old.MatchExpressions) == 0 && len(old.MatchFields) == 0 {
		return len(now.MatchExpressions) == 0 && len(now.MatchFields) == 0
	}
	return hasAll(now.MatchExpressions, old.MatchExpressions) && hasAll(now.MatchFields, old.MatchFields)
}

func hasAll(now, old []corev1.NodeSelectorRequirement) bool {
	for i := range old {
		if !slices.ContainsFunc(now, func(r corev1.NodeSelectorRequirement) bool { return apiequality.Semantic.DeepEqual(r, old[i]) }) {
			return false
		}
	}
	return true
}

// podSpecChanged decides metadata.generation.
func podSpecChanged(p, old *corev1.Pod) bool { return !samePodSpec(&p.Spec, &old.Spec) }

// samePodSpec compares the encoded specs first: most updates change labels or
// finalizers, and comparing by reflection takes many times longer. Specs of
// unlike bytes may still mean the same: 1 cpu and 1000m.
func samePodSpec(a, b *corev1.PodSpec) bool {
	if n := a.Size(); n == b.Size() {
		buf := make([]byte, 2*n)
		if _, err := a.MarshalToSizedBuffer(buf[:n]); err == nil {
			if _, err := b.MarshalToSizedBuffer(buf[n:]); err == nil && bytes.Equal(buf[:n], buf[n:]) {
				return true
			}
		}
	}
	return apiequality.Semantic.DeepEqual(a, b)
}

// gracePeriod is how long a deleted pod may keep running: as asked, else as
// its spec says, but not at all when nothing of it can be running.
func gracePeriod(p *corev1.Pod, o *metav1.DeleteOptions) (int64, bool) {
	var period int64
	switch {
	case o != nil && o.GracePeriodSeconds != nil:
		period = *o.GracePeriodSeconds
	case p.Spec.TerminationGracePeriodSeconds != nil:
		period = *p.Spec.TerminationGracePeriodSeconds
	}
	if period < 0 {
		period = 1
	}
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		period = 0
	}
	return period, true
}
