package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

func daemonSetHooks() scheme.Hooks[appsv1.DaemonSet] {
	return scheme.Hooks[appsv1.DaemonSet]{
		Default:        defaultDaemonSet,
		PrepareCreate:  prepareDaemonSet,
		ValidateCreate: func(d *appsv1.DaemonSet) field.ErrorList { return validateDaemonSetSpec(&d.Spec, nil) },
		WarnCreate: func(d *appsv1.DaemonSet) []string {
			return core.WarnPodTemplate(templatePath, &d.Spec.Template, nil)
		},
		PrepareUpdate: func(_ scheme.Context, d, old *appsv1.DaemonSet) {
			d.Status = old.Status
			core.PreparePodTemplate(&d.Spec.Template, &old.Spec.Template)
			g := templateGeneration(old)
			if !apiequality.Semantic.DeepEqual(&d.Spec.Template, &old.Spec.Template) {
				g++
			}
			setTemplateGeneration(d, g)
		},
		ValidateUpdate: func(d, old *appsv1.DaemonSet) field.ErrorList {
			errs := apivalidation.ValidateImmutableField(d.Spec.Selector, old.Spec.Selector, selectorPath)
			return append(errs, validateDaemonSetSpec(&d.Spec, &old.Spec)...)
		},
		WarnUpdate: func(d, old *appsv1.DaemonSet) []string {
			if d.Generation == old.Generation {
				return nil
			}
			return core.WarnPodTemplate(templatePath, &d.Spec.Template, &old.Spec.Template)
		},
		ResetFields: []string{"status"},
		SpecChanged: func(d, old *appsv1.DaemonSet) bool { return !apiequality.Semantic.DeepEqual(&d.Spec, &old.Spec) },
		UpdateOnly:  true,
	}
}

func daemonSetStatusHooks() scheme.UpdateHooks[appsv1.DaemonSet] {
	return scheme.UpdateHooks[appsv1.DaemonSet]{
		PrepareUpdate: func(_ scheme.Context, d, old *appsv1.DaemonSet) {
			d.Spec = old.Spec
			setTemplateGeneration(d, templateGeneration(old))
		},
		ValidateUpdate: validateDaemonSetStatus,
		ResetFields:    []string{"spec"},
	}
}

func prepareDaemonSet(_ scheme.Context, d *appsv1.DaemonSet) {
	d.Status = appsv1.DaemonSetStatus{}
	core.PreparePodTemplate(&d.Spec.Template, nil)
	setTemplateGeneration(d, max(templateGeneration(d), 1))
}

// templateGeneration counts the changes of the template. It was a field of
// extensions/v1beta1; apps/v1 carries it as an annotation of the system's own,
// which clients can choose on create only.
func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// decodeDaemonSet refuses an annotation that is no number: it stands for a
// field, and so for a malformed body.
func decodeDaemonSet(in runtime.Object) (scheme.Object, error) {
	d := in.(*appsv1.DaemonSet)
	if text, ok := d.Annotations[appsv1.DeprecatedTemplateGeneration]; ok {
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func setTemplateGeneration(d *appsv1.DaemonSet, g int64) {
	if d.Annotations == nil {
		d.Annotations = make(map[string]string, 1)
	}
	d.Annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(g, 10)
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	s := &d.Spec
	core.DefaultPodTemplate(&s.Template)
	u := &s.UpdateStrategy
	if u.Type == "" {
		u.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		if u.RollingUpdate == nil {
			u.RollingUpdate = &appsv1.RollingUpdateDaemonSet{}
		}
	}
	if r := u.RollingUpdate; r != nil {
		setDefault(&r.MaxUnavailable, intstr.FromInt32(1))
		setDefault(&r.MaxSurge, intstr.FromInt32(0))
	}
	setDefault(&s.RevisionHistoryLimit, defaultRevisionHistory)
}

func validateDaemonSetSpec(s, old *appsv1.DaemonSetSpec) field.ErrorList {
	selector, errs := validateSelector(s.Selector, old != nil && keepsLabelValues(old.Selector),
		selectorRule{optional: true, empty: "empty selector is invalid for daemonset"})
	errs = append(errs, validateTemplateLabels(&s.Template, selector)...)
	if old == nil {
		errs = append(errs, validateTemplate(&s.Template, nil)...)
	} else {
		errs = append(errs, validateTemplate(&s.Template, &old.Template)...)
	}
	errs = append(errs, validateLasting(&s.Template, "DaemonSet")...)
	errs = append(errs, nonnegative(int64(s.MinReadySeconds), specPath.Child("minReadySeconds"))...)
	errs = append(errs, validateDaemonSetStrategy(&s.UpdateStrategy, specPath.Child("updateStrategy"))...)
	if s.RevisionHistoryLimit != nil {
		errs = append(errs, nonnegative(int64(*s.RevisionHistoryLimit), specPath.Child("revisionHistoryLimit"))...)
	}
	return errs
}

func validateDaemonSetStrategy(s *appsv1.DaemonSetUpdateStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
		if s.RollingUpdate == nil || s.RollingUpdate.MaxUnavailable == nil || s.RollingUpdate.MaxSurge == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "")}
		}
		return validateRollingDaemonSet(s.RollingUpdate, path.Child("rollingUpdate"))
	}
	return field.ErrorList{field.NotSupported(path, internalform.Of(s),
		[]appsv1.DaemonSetUpdateStrategyType{appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType})}
}

func validateRollingDaemonSet(r *appsv1.RollingUpdateDaemonSet, path *field.Path) field.ErrorList {
	unavailable, surge := path.Child("maxUnavailable"), path.Child("maxSurge")
	errs := validateCountOrPercent(r.MaxUnavailable, unavailable)
	errs = append(errs, validateAtMostAll(r.MaxUnavailable, unavailable)...)
	errs = append(errs, validateCountOrPercent(r.MaxSurge, surge)...)
	errs = append(errs, validateAtMostAll(r.MaxSurge, surge)...)
	switch hasUnavailable, hasSurge := !isZero(r.MaxUnavailable), !isZero(r.MaxSurge); {
	case hasUnavailable && hasSurge:
		errs = append(errs, field.Invalid(surge, r.MaxSurge, "may not be set when maxUnavailable is non-zero"))
	case !hasUnavailable && !hasSurge:
		errs = append(errs, field.Required(unavailable, "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	s := &d.Status
	errs := validateCounts(
		count{"currentNumberScheduled", int64(s.CurrentNumberScheduled)},
		count{"numberMisscheduled", int64(s.NumberMisscheduled)},
		count{"desiredNumberScheduled", int64(s.DesiredNumberScheduled)},
		count{"numberReady", int64(s.NumberReady)},
		count{"observedGeneration", s.ObservedGeneration},
		count{"updatedNumberScheduled", int64(s.UpdatedNumberScheduled)},
		count{"numberAvailable", int64(s.NumberAvailable)},
		count{"numberUnavailable", int64(s.NumberUnavailable)},
		optionalCount("collisionCount", s.CollisionCount))
	return append(errs, validateCollisions(s.CollisionCount, old.Status.CollisionCount)...)
}
