package core

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// relaxations are rules that became stricter in the course of time: an update
// may keep what a stored object was once allowed to have.
type relaxations struct {
	badSelectorValues bool
	badSpreadValues   bool
	badNodeValues     bool
	unmasked          bool
	projectedTokens   bool
	hostSysctls       bool
	looseIPs          bool
}

var (
	specPath        = field.NewPath("spec")
	annotationsPath = field.NewPath("metadata", "annotations")
)

// ValidatePod checks a whole pod but its metadata.
func ValidatePod(p *corev1.Pod) field.ErrorList { return validatePod(p, relaxations{}) }

func validatePod(p *corev1.Pod, r relaxations) field.ErrorList {
	errs := validatePodAnnotations(p.Annotations, &p.Spec, annotationsPath)
	errs = append(errs, validatePodSpec(&p.Spec, p.Name, r, specPath)...)
	return append(errs, onlyInPods(&p.Spec, r, specPath)...)
}

// onlyInPods has rules that pod templates were never held to.
func onlyInPods(s *corev1.PodSpec, r relaxations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.ServiceAccountName == "" && !r.projectedTokens {
		for i := range s.Volumes {
			if s.Volumes[i].Projected == nil {
				continue
			}
			for j := range s.Volumes[i].Projected.Sources {
				if s.Volumes[i].Projected.Sources[j].ServiceAccountToken != nil {
					p := path.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken")
					errs = append(errs, field.Forbidden(p, "must not be specified when serviceAccountName is not set"))
				}
			}
		}
	}
	errs = append(errs, trimmedImages(s.Containers, path, "containers")...)
	return append(errs, trimmedImages(s.InitContainers, path, "initContainers")...)
}

func trimmedImages(list []corev1.Container, path *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		if image := list[i].Image; strings.TrimSpace(image) != image {
			errs = append(errs, field.Invalid(path.Child(name).Index(i).Child("image"), image, "must not have leading or trailing whitespace"))
		}
	}
	return errs
}

// ValidatePodCreate is ValidatePod and what may only come later in a pod's life.
func ValidatePodCreate(p *corev1.Pod) field.ErrorList {
	errs := ValidatePod(p)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(specPath.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return append(errs, appArmorAgrees(p)...)
}

// validatePodSpec checks what pods and templates share. podName is "" for
// templates. A path costs an allocation, so what is absent is not looked at.
func validatePodSpec(s *corev1.PodSpec, podName string, r relaxations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	c := podChecks{spec: s, relaxed: r}
	if len(s.Volumes) > 0 {
		c.volumes, errs = validateVolumes(s.Volumes, podName, path.Child("volumes"))
	}
	if len(s.ResourceClaims) > 0 {
		errs = append(errs, validatePodClaims(s.ResourceClaims, podName, path.Child("resourceClaims"))...)
	}
	errs = append(errs, c.containers(path.Child("containers"))...)
	if len(s.InitContainers) > 0 {
		errs = append(errs, c.initContainers(path.Child("initContainers"))...)
	}
	if len(s.EphemeralContainers) > 0 {
		errs = append(errs, c.ephemeralContainers(path.Child("ephemeralContainers"))...)
	}
	errs = append(errs, validatePodResources(s, path)...)
	errs = append(errs, validateRestartPolicy(s.RestartPolicy, path)...)
	errs = append(errs, validateDNSPolicy(s.DNSPolicy, path)...)
	if len(s.NodeSelector) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
	}
	errs = append(errs, c.podSecurityContext(path)...)
	if s.Affinity != nil {
		errs = append(errs, c.affinity(s.Affinity, path.Child("affinity"))...)
	}
	if s.DNSConfig != nil || s.DNSPolicy == corev1.DNSNone {
		errs = append(errs, c.dnsConfig(path.Child("dnsConfig"))...)
	}
	if len(s.ReadinessGates) > 0 {
		errs = append(errs, validateReadinessGates(s.ReadinessGates, path.Child("readinessGates"))...)
	}
	if len(s.SchedulingGates) > 0 {
		errs = append(errs, validateSchedulingGates(s.SchedulingGates, path.Child("schedulingGates"))...)
	}
	if len(s.TopologySpreadConstraints) > 0 {
		errs = append(errs, c.topologySpread(path.Child("topologySpreadConstraints"))...)
	}
	errs = append(errs, validateHostProcess(s, path)...)
	errs = append(errs, c.hostUsers(path)...)
	return append(errs, c.scalars(path)...)
}

// scalars checks the single values, most of them names, and what came last.
func (c *podChecks) scalars(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	s := c.spec
	if n := s.ServiceAccountName; n != "" && !plainLabel(n) {
		errs = append(errs, check.Subdomain(path.Child("serviceAccountName"), n)...)
	}
	if n := s.NodeName; n != "" && !plainLabel(n) {
		errs = append(errs, check.Subdomain(path.Child("nodeName"), n)...)
	}
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, utilvalidation.InclusiveRangeError(1, math.MaxInt32)))
	}
	errs = append(errs, validateHostname(s, path)...)
	if len(s.Tolerations) > 0 {
		errs = append(errs, ValidateTolerations(s.Tolerations, path.Child("tolerations"))...)
	}
	if len(s.HostAliases) > 0 {
		errs = append(errs, c.hostAliases(path.Child("hostAliases"))...)
	}
	if n := s.PriorityClassName; n != "" && !plainLabel(n) {
		errs = append(errs, check.Subdomain(path.Child("priorityClassName"), n)...)
	}
	if s.RuntimeClassName != nil {
		errs = append(errs, check.Subdomain(path.Child("runtimeClassName"), *s.RuntimeClassName)...)
	}
	if p := s.PreemptionPolicy; p != nil {
		errs = append(errs, ValidatePreemptionPolicy(*p, path.Child("preemptionPolicy"))...)
	}
	if len(s.Overhead) > 0 {
		errs = append(errs, ValidateOverhead(s.Overhead, path.Child("overhead"))...)
	}
	return append(errs, validateOS(s, path)...)
}

func validateRestartPolicy(policy corev1.RestartPolicy, path *field.Path) field.ErrorList {
	switch policy {
	case corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever:
		return nil
	case "":
		return field.ErrorList{field.Required(path.Child("restartPolicy"), "")}
	}
	return check.OneOf(path.Child("restartPolicy"), policy, corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
}

// ValidatePreemptionPolicy checks the policy of a pod or a priority class.
func ValidatePreemptionPolicy(policy corev1.PreemptionPolicy, p *field.Path) field.ErrorList {
	if policy == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return check.OneOf(p, policy, corev1.PreemptLowerPriority, corev1.PreemptNever)
}
