package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// resourceNames gives a list's names in order, so that errors come in order
// too; names is scratch space.
func resourceNames(l corev1.ResourceList, names []corev1.ResourceName) []corev1.ResourceName {
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// validateContainerResources checks requests and limits of a container.
func validateContainerResources(r *corev1.ResourceRequirements, claims []corev1.PodResourceClaim, p *field.Path) field.ErrorList {
	if len(r.Limits) == 0 && len(r.Requests) == 0 && len(r.Claims) == 0 {
		return nil
	}
	errs := validateRequirements(r, p, checkContainerResource)
	return append(errs, validateClaimNames(r.Claims, claims, p.Child("claims"))...)
}

func checkContainerResource(name corev1.ResourceName, p *field.Path) field.ErrorList {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return nil
	}
	return validateContainerResourceName(string(name), p)
}

// validateRequirements checks names and amounts, and requests against limits:
// what can't be overcommitted must be requested in full.
func validateRequirements(r *corev1.ResourceRequirements, p *field.Path, checkName func(corev1.ResourceName, *field.Path) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	var scratch [8]corev1.ResourceName
	huge, compute := false, false
	note := func(name corev1.ResourceName) {
		huge = huge || isHugePages(name)
		compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
	}
	for _, name := range resourceNames(r.Limits, scratch[:0]) {
		note(name)
		errs = append(errs, validateResource(name, r.Limits[name], p, "limits", checkName)...)
	}
	for _, name := range resourceNames(r.Requests, scratch[:0]) {
		note(name)
		request := r.Requests[name]
		errs = append(errs, validateResource(name, request, p, "requests", checkName)...)
		limit, ok := r.Limits[name]
		switch {
		case !ok && !allowsOvercommit(name):
			errs = append(errs, field.Required(p.Child("limits"), "Limit must be set for non overcommitable resources"))
		case ok && request.Cmp(limit) != 0 && !allowsOvercommit(name):
			errs = append(errs, field.Invalid(p.Child("requests"), request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		case ok && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(p.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		}
	}
	if huge && !compute {
		errs = append(errs, field.Forbidden(p, "HugePages require cpu or memory"))
	}
	return errs
}

func validateResource(name corev1.ResourceName, q resource.Quantity, p *field.Path, list string, checkName func(corev1.ResourceName, *field.Path) field.ErrorList) field.ErrorList {
	if (name == corev1.ResourceCPU || name == corev1.ResourceMemory) && q.Sign() >= 0 {
		return nil
	}
	p = p.Child(list).Key(string(name))
	errs := checkName(name, p)
	errs = append(errs, validateAmount(name, q, p)...)
	if isHugePages(name) && !wholePages(name, q) {
		errs = append(errs, field.Invalid(p, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name)))
	}
	return errs
}

// wholePages takes multiples of the page size that the resource's name has.
func wholePages(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	return err == nil && size.Sign() > 0 && size.MilliValue()%1000 == 0 && q.Value()%size.Value() == 0
}

// validateClaimNames checks the container's claims against those of its pod.
// A claim may be used as a whole or request by request, not both.
func validateClaimNames(claims []corev1.ResourceClaim, ofPod []corev1.PodResourceClaim, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range claims {
		c := &claims[i]
		if c.Name == "" {
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		}
		if dup := duplicateClaim(claims[:i], c); dup != "" {
			errs = append(errs, field.Duplicate(path.Index(i), dup))
		}
		if !hasClaim(ofPod, c.Name) {
			e := field.NotFound(path.Index(i), c.Name)
			e.Detail = "must be one of the names in pod.spec.resourceClaims"
			if len(ofPod) == 0 {
				e.Detail += " which is empty"
			} else {
				e.Detail += ": " + strings.Join(claimNames(ofPod), ", ")
			}
			errs = append(errs, e)
		}
		if c.Request != "" {
			errs = append(errs, check.Label(path.Index(i).Child("request"), c.Request)...)
		}
	}
	return errs
}

func duplicateClaim(before []corev1.ResourceClaim, c *corev1.ResourceClaim) string {
	for i := range before {
		if b := &before[i]; b.Name == c.Name && (b.Request == c.Request || b.Request == "" || c.Request == "") {
			if c.Request != "" {
				return c.Name + "/" + c.Request
			}
			return c.Name
		}
	}
	return ""
}

func hasClaim(claims []corev1.PodResourceClaim, name string) bool {
	return slices.ContainsFunc(claims, func(c corev1.PodResourceClaim) bool { return c.Name == name })
}

func claimNames(claims []corev1.PodResourceClaim) []string {
	var names []string
	for i := range claims {
		names = append(names, claims[i].Name)
	}
	slices.Sort(names)
	return names
}

// validatePodResources checks what a pod asks for as a whole, and that it is
// no less than what its containers ask for.
func validatePodResources(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	if s.Resources == nil {
		return nil
	}
	var errs field.ErrorList
	r, p := s.Resources, path.Child("resources")
	if r.Claims != nil {
		errs = append(errs, field.Forbidden(p.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	errs = append(errs, validateRequirements(r, p, checkPodResource)...)
	errs = append(errs, atLeast(r.Requests, ContainerRequests(s), "requests", p)...)
	huge := corev1.ResourceList{}
	for name, q := range ContainerLimits(s) {
		if isHugePages(name) {
			huge[name] = q
		}
	}
	errs = append(errs, atLeast(r.Limits, huge, "limits", p)...)
	return append(errs, withinPod(s, path)...)
}

func checkPodResource(name corev1.ResourceName, p *field.Path) field.ErrorList {
	if podLevelResource(name) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, name, []string{"cpu", corev1.ResourceHugePagesPrefix, "memory"})}
}

func atLeast(have, sum corev1.ResourceList, list string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range resourceNames(sum, nil) {
		q, total := have[name], sum[name]
		if podLevelResource(name) && total.Cmp(q) > 0 {
			errs = append(errs, field.Invalid(p.Child(list).Key(string(name)), q.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container %s of %s", list, total.String())))
		}
	}
	return errs
}

// withinPod keeps each container's limits below the pod's.
func withinPod(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range s.Containers {
		own := s.Containers[i].Resources.Limits
		for _, name := range resourceNames(own, nil) {
			limit, ok := s.Resources.Limits[name]
			if q := own[name]; ok && q.Cmp(limit) > 0 {
				p := path.Child("containers").Index(i).Child("resources", "limits").Key(string(name))
				errs = append(errs, field.Invalid(p, q.String(), "must be less than or equal to pod limits of "+limit.String()))
			}
		}
	}
	return errs
}

// validatePodClaims checks the resource claims of a pod: each either exists or
// is made from a template.
func validatePodClaims(claims []corev1.PodResourceClaim, podName string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range claims {
		c, p := &claims[i], path.Index(i)
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(p.Child("name"), ""))
		case hasClaim(claims[:i], c.Name):
			errs = append(errs, field.Duplicate(p.Child("name"), c.Name))
		default:
			errs = append(errs, check.Label(p.Child("name"), c.Name)...)
			if c.ResourceClaimTemplateName != nil {
				errs = append(errs, validateGeneratedName(c.Name, podName, p.Child("name"), "final ResourceClaim")...)
			}
		}
		errs = append(errs, validateClaimSource(c, p)...)
	}
	return errs
}

func validateClaimSource(c *corev1.PodResourceClaim, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.ResourceClaimName != nil && c.ResourceClaimTemplateName != nil:
		errs = append(errs, field.Invalid(p, internalform.Of(c), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
	case c.ResourceClaimName == nil && c.ResourceClaimTemplateName == nil:
		errs = append(errs, field.Invalid(p, internalform.Of(c), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
	}
	if n := c.ResourceClaimName; n != nil {
		errs = append(errs, check.Subdomain(p.Child("resourceClaimName"), *n)...)
	}
	if n := c.ResourceClaimTemplateName; n != nil {
		errs = append(errs, check.Subdomain(p.Child("resourceClaimTemplateName"), *n)...)
	}
	return errs
}
