package podsecurity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"xebec.dev/apiserver/internal/admission"
)

// Bounds of looking through a namespace's pods: a label must not cost more.
const (
	mostPods = 3000
	mostTime = time.Second
)

// namespace checks the labels, and warns of pods that are there and would be
// refused from now on.
func (p *Plugin) namespace(a *admission.Attributes, ns *corev1.Namespace) error {
	rules, errs := psa.PolicyToEvaluate(ns.Labels, p.config.Defaults)
	exempt := slices.Contains(p.config.Exemptions.Namespaces, ns.Name)
	old, ok := a.Old.(*corev1.Namespace)
	if !ok {
		if len(errs) > 0 {
			return invalid(ns, errs)
		}
		if exempt && labelled(ns) {
			a.Warn(exemptText(ns, rules))
		}
		return nil
	}
	before, errsBefore := psa.PolicyToEvaluate(old.Labels, p.config.Defaults)
	if len(errs) > 0 && len(errsBefore) == 0 {
		return invalid(ns, errs)
	}
	switch {
	case exempt:
		if labelled(ns) && !rules.Equivalent(&before) {
			a.Warn(exemptText(ns, rules))
		}
	case rules.Enforce.Level == psa.LevelPrivileged,
		rules.Enforce.Version == before.Enforce.Version && psa.CompareLevels(rules.Enforce.Level, before.Enforce.Level) < 1:
		// Whatever was let in is still.
	default:
		for _, text := range p.existing(ns.Name, rules.Enforce) {
			a.Warn(text)
		}
	}
	return nil
}

func invalid(ns *corev1.Namespace, errs field.ErrorList) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind(), ns.Name, errs)
}

func labelled(ns *corev1.Namespace) bool {
	for key := range ns.Labels {
		if strings.HasPrefix(key, psa.AuditAnnotationPrefix) {
			return true
		}
	}
	return false
}

func exemptText(ns *corev1.Namespace, rules psa.Policy) string {
	modes := make([]string, 0, 3)
	for _, m := range []struct {
		name string
		at   psa.LevelVersion
	}{{"enforce", rules.Enforce}, {"audit", rules.Audit}, {"warn", rules.Warn}} {
		if m.at.Level != psa.LevelPrivileged {
			modes = append(modes, fmt.Sprintf("%s=%s", m.name, m.at.String()))
		}
	}
	return fmt.Sprintf("namespace %q is exempt from Pod Security, and the policy (%s) will be ignored", ns.Name, strings.Join(modes, ", "))
}

// violation is the pods that break the same rules.
type violation struct {
	reason string
	pods   []string
}

// existing are warnings of the pods in a namespace that a level refuses. Of
// pods of one controller, which are alike, one is looked at first.
func (p *Plugin) existing(namespace string, at psa.LevelVersion) []string {
	list := p.reader.List(p.pods, namespace)
	pods := make([]*corev1.Pod, 0, len(list))
	var alike []*corev1.Pod
	owners := map[types.UID]bool{}
	for _, o := range list {
		pod := o.(*corev1.Pod)
		if c := metav1.GetControllerOf(pod); c != nil {
			if owners[c.UID] {
				alike = append(alike, pod)
				continue
			}
			owners[c.UID] = true
		}
		pods = append(pods, pod)
	}
	pods = append(pods, alike...)
	total := len(pods)
	pods = pods[:min(total, mostPods)]
	found, checked := p.violations(pods, at)
	if len(found) == 0 {
		return nil
	}
	var out []string
	if checked < total {
		out = append(out, fmt.Sprintf("new PodSecurity enforce level only checked against the first %d of %d existing pods", checked, total))
	}
	out = append(out, fmt.Sprintf("existing pods in namespace %q violate the new PodSecurity enforce level %q", namespace, at.String()))
	for i := range found {
		out = append(out, found[i].text())
	}
	return out
}

func (p *Plugin) violations(pods []*corev1.Pod, at psa.LevelVersion) (found []violation, checked int) {
	deadline := time.Now().Add(mostTime)
	index := map[string]int{}
	for _, pod := range pods {
		if checked++; time.Now().After(deadline) {
			break
		}
		if p.exemptClass(&pod.Spec) {
			continue
		}
		result := policy.AggregateCheckResults(p.evaluator.EvaluatePod(at, &pod.ObjectMeta, &pod.Spec))
		if result.Allowed {
			continue
		}
		reason := result.ForbiddenReason()
		i, ok := index[reason]
		if !ok {
			i = len(found)
			index[reason] = i
			found = append(found, violation{reason: reason})
		}
		found[i].pods = append(found[i].pods, pod.Name)
	}
	for i := range found {
		slices.Sort(found[i].pods)
	}
	slices.SortFunc(found, func(a, b violation) int { return strings.Compare(a.pods[0], b.pods[0]) })
	return found, checked
}

func (v *violation) text() string {
	first := v.pods[0]
	switch others := len(v.pods) - 1; others {
	case 0:
		return fmt.Sprintf("%s: %s", first, v.reason)
	case 1:
		return fmt.Sprintf("%s (and 1 other pod): %s", first, v.reason)
	default:
		return fmt.Sprintf("%s (and %d other pods): %s", first, others, v.reason)
	}
}
