package core

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Annotations with a meaning of their own.
const (
	deletionCostAnnotation  = corev1.PodDeletionCost
	mirrorAnnotation        = corev1.MirrorPodAnnotationKey
	appArmorPrefix          = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	appArmorRuntimeDefault  = corev1.DeprecatedAppArmorBetaProfileRuntimeDefault
	appArmorUnconfined      = corev1.DeprecatedAppArmorBetaProfileNameUnconfined
	appArmorLocalhostPrefix = corev1.DeprecatedAppArmorBetaProfileNamePrefix
)

// validatePodAnnotations checks the annotations that stand for fields.
func validatePodAnnotations(annotations map[string]string, s *corev1.PodSpec, p *field.Path) field.ErrorList {
	if len(annotations) == 0 {
		return nil
	}
	var errs field.ErrorList
	if v, ok := annotations[mirrorAnnotation]; ok && s.NodeName == "" {
		errs = append(errs, field.Invalid(p.Key(mirrorAnnotation), v, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if v, ok := annotations[deletionCostAnnotation]; ok && !isDeletionCost(v) {
		errs = append(errs, field.Invalid(p.Key(deletionCostAnnotation), v, "must be a 32bit integer"))
	}
	for key, v := range annotations {
		if name, ok := strings.CutPrefix(key, appArmorPrefix); ok {
			errs = append(errs, validateAppArmorAnnotation(name, v, s, p.Key(key))...)
		}
	}
	return errs
}

// isDeletionCost wants the plain form of a 32 bit number: no plus sign and no
// leading zeros.
func isDeletionCost(v string) bool {
	n, err := strconv.ParseInt(v, 10, 32)
	return err == nil && v == strconv.FormatInt(n, 10)
}

func validateAppArmorAnnotation(container, profile string, s *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	found := false
	eachContainer(s, nil, func(c *corev1.Container, _ func() *field.Path) { found = found || c.Name == container })
	if !found {
		errs = append(errs, field.Invalid(p, container, "container not found"))
	}
	if profile != "" && profile != appArmorRuntimeDefault && profile != appArmorUnconfined && !strings.HasPrefix(profile, appArmorLocalhostPrefix) {
		errs = append(errs, field.Invalid(p, profile, fmt.Sprintf("invalid AppArmor profile name: %q", profile)))
	}
	return errs
}

// appArmorAgrees wants annotation and field of a container to name the same
// AppArmor profile when a new pod has both.
func appArmorAgrees(p *corev1.Pod) field.ErrorList {
	if len(p.Annotations) == 0 || p.Spec.OS != nil && p.Spec.OS.Name == corev1.Windows {
		return nil
	}
	var errs field.ErrorList
	eachContainer(&p.Spec, specPath, func(c *corev1.Container, at func() *field.Path) {
		v, ok := p.Annotations[appArmorPrefix+c.Name]
		if !ok || c.SecurityContext == nil || c.SecurityContext.AppArmorProfile == nil {
			return
		}
		kind, local := appArmorOf(v)
		a := c.SecurityContext.AppArmorProfile
		if kind == "" {
			return
		}
		path := at().Child("securityContext", "appArmorProfile")
		if kind != a.Type {
			errs = append(errs, field.Forbidden(path.Child("type"), "apparmor type in annotation and field must match"))
		}
		if (a.LocalhostProfile == nil && local != "") || (a.LocalhostProfile != nil && local != *a.LocalhostProfile) {
			errs = append(errs, field.Forbidden(path.Child("localhostProfile"), "apparmor profile in annotation and field must match"))
		}
	})
	return errs
}

// appArmorOf reads the value of an annotation: "localhost/NAME" and the like.
func appArmorOf(v string) (kind corev1.AppArmorProfileType, local string) {
	if name, ok := strings.CutPrefix(v, appArmorLocalhostPrefix); ok {
		return corev1.AppArmorProfileTypeLocalhost, name
	}
	switch v {
	case appArmorRuntimeDefault:
		return corev1.AppArmorProfileTypeRuntimeDefault, ""
	case appArmorUnconfined:
		return corev1.AppArmorProfileTypeUnconfined, ""
	}
	return "", ""
}

// validateAnnotationsUpdate keeps the annotations that stand for fields which
// may not change either.
func validateAnnotationsUpdate(now, old map[string]string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for key, v := range old {
		if w, ok := now[key]; ok && w == v {
			continue
		}
		if strings.HasPrefix(key, appArmorPrefix) {
			errs = append(errs, field.Forbidden(p.Key(key), "may not remove or update AppArmor annotations"))
		}
		if key == mirrorAnnotation {
			errs = append(errs, field.Forbidden(p.Key(key), "may not remove or update mirror pod annotation"))
		}
	}
	for key := range now {
		if _, ok := old[key]; ok {
			continue
		}
		if strings.HasPrefix(key, appArmorPrefix) {
			errs = append(errs, field.Forbidden(p.Key(key), "may not add AppArmor annotations"))
		}
		if key == mirrorAnnotation {
			errs = append(errs, field.Forbidden(p.Key(key), "may not add mirror pod annotation"))
		}
	}
	return errs
}
