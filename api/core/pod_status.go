package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

var statusPath = field.NewPath("status")

// validatePodStatusUpdate checks a new status. There is little that it may not
// say: it reports what is.
func validatePodStatusUpdate(p, old *corev1.Pod) field.ErrorList {
	path := statusPath
	errs := validateAnnotationsUpdate(p.Annotations, old.Annotations, annotationsPath)
	errs = append(errs, validateConditions(p.Status.Conditions, path.Child("conditions"))...)
	if p.Status.ObservedGeneration < 0 {
		errs = append(errs, field.Invalid(path.Child("observedGeneration"), p.Status.ObservedGeneration, "must be a non-negative integer"))
	}
	errs = append(errs, validateClaimStatuses(p.Status.ResourceClaimStatuses, p.Spec.ResourceClaims, path.Child("resourceClaimStatuses"))...)
	if n := p.Status.NominatedNodeName; n != "" {
		errs = append(errs, check.Subdomain(path.Child("nominatedNodeName"), n)...)
	}
	if p.Status.QOSClass != old.Status.QOSClass {
		errs = append(errs, field.Invalid(path.Child("qosClass"), p.Status.QOSClass, check.Immutable))
	}
	errs = append(errs, stayTerminated(p.Status.ContainerStatuses, old.Status.ContainerStatuses, p.Spec.Containers, p.Spec.RestartPolicy, path.Child("containerStatuses"))...)
	errs = append(errs, stayTerminated(p.Status.InitContainerStatuses, old.Status.InitContainerStatuses, p.Spec.InitContainers, initRestartPolicy(p.Spec.RestartPolicy), path.Child("initContainerStatuses"))...)
	errs = append(errs, stayTerminated(p.Status.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses, nil, corev1.RestartPolicyNever, path.Child("ephemeralContainerStatuses"))...)
	errs = append(errs, validateHostIPs(&p.Status, &old.Status, path)...)
	return append(errs, validatePodIPs(&p.Status, &old.Status, path.Child("podIPs"))...)
}

var podConditionTypes = []corev1.PodConditionType{
	corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized, corev1.ContainersReady, corev1.DisruptionTarget,
	corev1.PodReadyToStartContainers, corev1.PodResizePending, corev1.PodResizeInProgress, corev1.AllContainersRestarting,
}

func validateConditions(conditions []corev1.PodCondition, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range conditions {
		c := &conditions[i]
		if c.ObservedGeneration < 0 {
			errs = append(errs, field.Invalid(path.Index(i).Child("observedGeneration"), c.ObservedGeneration, "must be a non-negative integer"))
		}
		if !slices.Contains(podConditionTypes, c.Type) {
			errs = append(errs, check.QualifiedName(path.Index(i).Child("Type"), string(c.Type))...)
		}
	}
	return errs
}

func validateClaimStatuses(statuses []corev1.PodResourceClaimStatus, claims []corev1.PodResourceClaim, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		s, p := &statuses[i], path.Index(i)
		if !hasClaim(claims, s.Name) {
			errs = append(errs, field.Invalid(p.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		}
		if slices.ContainsFunc(statuses[:i], func(o corev1.PodResourceClaimStatus) bool { return o.Name == s.Name }) {
			errs = append(errs, field.Duplicate(p.Child("name"), s.Name))
		}
		if s.ResourceClaimName != nil {
			errs = append(errs, check.Subdomain(p.Child("name"), *s.ResourceClaimName)...)
		}
	}
	return errs
}

// initRestartPolicy is Always's meaning for init containers: until they
// succeed.
func initRestartPolicy(policy corev1.RestartPolicy) corev1.RestartPolicy {
	if policy == corev1.RestartPolicyAlways {
		return corev1.RestartPolicyOnFailure
	}
	return policy
}

// stayTerminated keeps containers from coming back to life that their restart
// policy leaves dead. Containers with a policy of their own are left to the
// kubelet: their rules depend on more than the exit code.
func stayTerminated(now, old []corev1.ContainerStatus, containers []corev1.Container, policy corev1.RestartPolicy, path *field.Path) field.ErrorList {
	if policy == corev1.RestartPolicyAlways {
		return nil
	}
	var errs field.ErrorList
	for i := range old {
		t := old[i].State.Terminated
		if t == nil || t.ExitCode != 0 && policy == corev1.RestartPolicyOnFailure || ownPolicy(containers, old[i].Name) {
			continue
		}
		for j := range now {
			if now[j].Name == old[i].Name && now[j].State.Terminated == nil {
				errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}

func ownPolicy(containers []corev1.Container, name string) bool {
	return slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == name && c.RestartPolicy != nil })
}

func validateHostIPs(s, old *corev1.PodStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range s.HostIPs {
		ip, p := s.HostIPs[i].IP, path.Child("hostIPs").Index(i).Child("ip")
		if i == 0 && ip != s.HostIP {
			errs = append(errs, field.Invalid(p, ip, "must be equal to `hostIP`"))
		}
		if !slices.ContainsFunc(old.HostIPs, func(o corev1.HostIP) bool { return o.IP == ip }) {
			errs = append(errs, validateIP(ip, nil, p)...)
		}
	}
	return errs
}

// validatePodIPs wants one address, or one of each family.
func validatePodIPs(s, old *corev1.PodStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range s.PodIPs {
		if !slices.Contains(old.PodIPs, s.PodIPs[i]) {
			errs = append(errs, validateIP(s.PodIPs[i].IP, nil, path.Index(i))...)
		}
	}
	if len(errs) > 0 || len(s.PodIPs) < 2 {
		return errs
	}
	if len(s.PodIPs) > 2 || strings.Contains(s.PodIPs[0].IP, ":") == strings.Contains(s.PodIPs[1].IP, ":") {
		errs = append(errs, field.Invalid(path, s.PodIPs, "may specify no more than one IP for each IP family"))
	}
	for i := range s.PodIPs {
		if slices.ContainsFunc(s.PodIPs[:i], func(o corev1.PodIP) bool { return o.IP == s.PodIPs[i].IP }) {
			errs = append(errs, field.Duplicate(path.Index(i), s.PodIPs[i]))
		}
	}
	return errs
}
