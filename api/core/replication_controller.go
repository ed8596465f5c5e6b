package core

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func replicationControllerResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ReplicationController",
		Plural: "replicationcontrollers", Singular: "replicationcontroller",
		ShortNames:    []string{"rc"},
		Categories:    []string{"all"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ReplicationController) },
		NewList:       func() runtime.Object { return new(corev1.ReplicationControllerList) },
		StoragePrefix: "controllers",
		Fields:        []scheme.SelectableField{{Label: "status.replicas", IfEmpty: "0"}},
		Columns:       replicationControllerColumns(),
		Row:           scheme.Rows(replicationControllerRow),
		Strategy: scheme.Hooks[corev1.ReplicationController]{
			Default: DefaultReplicationController,
			PrepareCreate: func(_ scheme.Context, r *corev1.ReplicationController) {
				r.Status = corev1.ReplicationControllerStatus{}
				if r.Spec.Template != nil {
					PreparePodTemplate(r.Spec.Template, nil)
				}
			},
			ValidateCreate: func(r *corev1.ReplicationController) field.ErrorList { return validateReplicationController(r, nil) },
			WarnCreate:     warnReplicationController,
			PrepareUpdate: func(_ scheme.Context, r, old *corev1.ReplicationController) {
				r.Status = old.Status
				if r.Spec.Template != nil {
					PreparePodTemplate(r.Spec.Template, old.Spec.Template)
				}
			},
			ValidateUpdate: validateReplicationController,
			WarnUpdate: func(r, old *corev1.ReplicationController) []string {
				if r.Generation == old.Generation || r.Spec.Template == nil {
					return nil
				}
				return WarnPodTemplate(field.NewPath("spec", "template"), r.Spec.Template, old.Spec.Template)
			},
			ResetFields: []string{"status"},
			SpecChanged: func(r, old *corev1.ReplicationController) bool {
				return !apiequality.Semantic.DeepEqual(&r.Spec, &old.Spec)
			},
			DefaultPropagation: metav1.DeletePropagationOrphan,
		}.Erase(),
		Subresources: []scheme.Subresource{
			{
				Name: "scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Verbs: []string{"get", "patch", "update"},
				Scale: scheme.NewScale(replicationControllerScale, func(r *corev1.ReplicationController, n int32) { r.Spec.Replicas = &n }),
			},
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.ReplicationController]{
				PrepareUpdate:  func(_ scheme.Context, r, old *corev1.ReplicationController) { r.Spec = old.Spec },
				ValidateUpdate: func(r, _ *corev1.ReplicationController) field.ErrorList { return validateReplicas(&r.Status) },
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

func replicationControllerScale(r *corev1.ReplicationController) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus) {
	var spec autoscalingv1.ScaleSpec
	if r.Spec.Replicas != nil {
		spec.Replicas = *r.Spec.Replicas
	}
	return spec, autoscalingv1.ScaleStatus{Replicas: r.Status.Replicas, Selector: labels.Set(r.Spec.Selector).AsSelector().String()}
}

// validateReplicationController checks the spec; old is nil on create.
func validateReplicationController(r, old *corev1.ReplicationController) field.ErrorList {
	spec, path := &r.Spec, field.NewPath("spec")
	var errs field.ErrorList
	if len(spec.Selector) == 0 {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	if spec.Template == nil {
		errs = append(errs, field.Required(path.Child("template"), ""))
	} else {
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = old.Spec.Template
		}
		errs = append(errs, validateControllerTemplate(spec, was, path.Child("template"))...)
	}
	// These two are declared with the type, and such errors come last.
	if spec.Replicas != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*spec.Replicas), path.Child("replicas"))...)
	}
	return append(errs, apivalidation.ValidateNonnegativeField(int64(spec.MinReadySeconds), path.Child("minReadySeconds"))...)
}

func validateControllerTemplate(spec *corev1.ReplicationControllerSpec, was *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	t := spec.Template
	var errs field.ErrorList
	if len(spec.Selector) > 0 && !labels.SelectorFromSet(spec.Selector).Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	if was != nil {
		errs = append(errs, ValidatePodTemplateSpecUpdate(t, was, path)...)
	} else {
		errs = append(errs, ValidatePodTemplateSpec(t, path)...)
	}
	if p := t.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), p, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicationController is not Supported"))
	}
	return errs
}

func validateReplicas(s *corev1.ReplicationControllerStatus) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	count := func(n int64, child string) {
		errs = append(errs, apivalidation.ValidateNonnegativeField(n, path.Child(child))...)
	}
	count(int64(s.Replicas), "replicas")
	count(int64(s.FullyLabeledReplicas), "fullyLabeledReplicas")
	count(int64(s.ReadyReplicas), "readyReplicas")
	count(int64(s.AvailableReplicas), "availableReplicas")
	count(s.ObservedGeneration, "observedGeneration")
	atMost := func(n, limit int32, child, what string) {
		if n > limit {
			errs = append(errs, field.Invalid(path.Child(child), n, "cannot be greater than "+what))
		}
	}
	atMost(s.FullyLabeledReplicas, s.Replicas, "fullyLabeledReplicas", "status.replicas")
	atMost(s.ReadyReplicas, s.Replicas, "readyReplicas", "status.replicas")
	atMost(s.AvailableReplicas, s.Replicas, "availableReplicas", "status.replicas")
	atMost(s.AvailableReplicas, s.ReadyReplicas, "availableReplicas", "readyReplicas")
	return errs
}

func warnReplicationController(r *corev1.ReplicationController) []string {
	var warnings []string
	if msgs := utilvalidation.IsDNS1123Label(r.Name); len(msgs) > 0 {
		warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
	}
	if r.Spec.Template == nil {
		return warnings
	}
	return append(warnings, WarnPodTemplate(field.NewPath("spec", "template"), r.Spec.Template, nil)...)
}

func replicationControllerColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.ReplicationControllerSpec{}, corev1.ReplicationControllerStatus{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.TypedField("Desired", "integer", spec, "replicas"),
		table.TypedField("Current", "integer", status, "replicas"),
		table.TypedField("Ready", "integer", status, "readyReplicas"),
		table.Age(),
		table.Wide(table.String("Containers", "Names of each container in the template.")),
		table.Wide(table.String("Images", "Images referenced by each container in the template.")),
		table.Wide(table.Field("Selector", spec, "selector")),
	}
}

func replicationControllerRow(r *corev1.ReplicationController, now metav1.Time) []any {
	var desired int64
	if r.Spec.Replicas != nil {
		desired = int64(*r.Spec.Replicas)
	}
	var names, images string
	if r.Spec.Template != nil {
		names, images = ContainerImages(&r.Spec.Template.Spec)
	}
	return []any{
		r.Name, desired, int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), table.Since(r.CreationTimestamp, now),
		names, images, labels.FormatLabels(r.Spec.Selector),
	}
}
