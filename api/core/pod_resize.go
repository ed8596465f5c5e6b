package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

// preparePodResize keeps everything but the resources and how the containers
// take a change of them.
func preparePodResize(_ scheme.Context, p, old *corev1.Pod) {
	containers, inits, resources, version := p.Spec.Containers, p.Spec.InitContainers, p.Spec.Resources, p.ResourceVersion
	old.DeepCopyInto(p)
	p.ResourceVersion = version
	p.Spec.Resources = resources
	resizeContainers(p.Spec.Containers, containers)
	resizeContainers(p.Spec.InitContainers, inits)
}

func resizeContainers(to, from []corev1.Container) {
	for i := range to {
		j := slices.IndexFunc(from, func(c corev1.Container) bool { return c.Name == to[i].Name })
		if j >= 0 {
			to[i].Resources, to[i].ResizePolicy = from[j].Resources, from[j].ResizePolicy
		}
	}
}

// validatePodResize allows other amounts of cpu and memory as long as the
// pod's quality of service stays.
func validatePodResize(p, old *corev1.Pod) field.ErrorList {
	if _, ok := old.Annotations[mirrorAnnotation]; ok {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods cannot be resized")}
	}
	if old.Spec.OS != nil && old.Spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "windows pods cannot be resized")}
	}
	errs := validatePodAgain(p, old)
	path := field.NewPath("spec")
	was := old.Status.QOSClass
	if was == "" {
		was = PodQOS(&old.Spec)
	}
	if PodQOS(&p.Spec) != was {
		errs = append(errs, field.Invalid(path, was, "Pod QOS Class may not change as a result of resizing"))
	}
	errs = append(errs, keptResources(p.Spec.Resources, old.Spec.Resources, path.Child("resources"))...)
	errs = append(errs, keptByContainers(p.Spec.Containers, old.Spec.Containers, path.Child("containers"))...)
	errs = append(errs, keptByContainers(p.Spec.InitContainers, old.Spec.InitContainers, path.Child("initContainers"))...)

	s := p.Spec.DeepCopy()
	s.Resources = withoutResize(s.Resources, old.Spec.Resources)
	undoResize(s.Containers, old.Spec.Containers)
	undoResize(s.InitContainers, old.Spec.InitContainers)
	if !apiequality.Semantic.DeepEqual(*s, old.Spec) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable"))
	}
	return errs
}

var resizable = [...]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

func keptByContainers(now, old []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range now {
		errs = append(errs, keptResources(&now[i].Resources, &old[i].Resources, path.Index(i).Child("resources"))...)
	}
	return errs
}

// keptResources lets amounts change but not vanish: a container that ran
// without a limit can't be told apart from one whose limit was taken away.
func keptResources(now, old *corev1.ResourceRequirements, p *field.Path) field.ErrorList {
	if old == nil {
		return nil
	}
	if now == nil {
		now = &corev1.ResourceRequirements{}
	}
	var errs field.ErrorList
	if lacks(now.Limits, old.Limits) {
		errs = append(errs, field.Forbidden(p.Child("limits"), "resource limits cannot be removed"))
	}
	if lacks(now.Requests, old.Requests) {
		errs = append(errs, field.Forbidden(p.Child("requests"), "resource requests cannot be removed"))
	}
	return errs
}

func lacks(now, old corev1.ResourceList) bool {
	for _, name := range resizable {
		if _, was := old[name]; was {
			if _, is := now[name]; !is {
				return true
			}
		}
	}
	return false
}

func undoResize(now, old []corev1.Container) {
	for i := range now {
		now[i].Resources = *withoutResize(&now[i].Resources, &old[i].Resources)
	}
}

// withoutResize gives the new resources with the old amounts of what may
// change.
func withoutResize(now, old *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	if now == nil || old == nil {
		return now
	}
	r := *now
	r.Limits = withOld(now.Limits, old.Limits)
	r.Requests = withOld(now.Requests, old.Requests)
	return &r
}

func withOld(now, old corev1.ResourceList) corev1.ResourceList {
	l := now.DeepCopy()
	for _, name := range resizable {
		q, ok := old[name]
		switch {
		case !ok:
			delete(l, name)
		case l == nil:
			l = corev1.ResourceList{name: q}
		default:
			l[name] = q
		}
	}
	return l
}
