package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func namespaceResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Namespace",
		Plural: "namespaces", Singular: "namespace",
		ShortNames:    []string{"ns"},
		Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		New:           func() runtime.Object { return new(corev1.Namespace) },
		NewList:       func() runtime.Object { return new(corev1.NamespaceList) },
		StoragePrefix: "namespaces",
		Fields:        []scheme.SelectableField{{Label: "status.phase", IfEmpty: string(corev1.NamespaceActive)}},
		Columns: []metav1.TableColumnDefinition{
			table.Name(), table.String("Status", "The status of the namespace"), table.Age(),
		},
		Row: scheme.Rows(func(n *corev1.Namespace, now metav1.Time) []any {
			return []any{n.Name, string(n.Status.Phase), table.Since(n.CreationTimestamp, now)}
		}),
		Strategy: scheme.Hooks[corev1.Namespace]{
			Default:        DefaultNamespace,
			PrepareCreate:  prepareNamespace,
			ValidateName:   apivalidation.NameIsDNSLabel,
			ValidateCreate: ValidateNamespace,
			PrepareUpdate: func(_ scheme.Context, n, old *corev1.Namespace) {
				n.Spec.Finalizers, n.Status = old.Spec.Finalizers, old.Status
			},
			ResetFields: []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "finalize", Verbs: []string{"update"}, Update: scheme.UpdateHooks[corev1.Namespace]{
				PrepareUpdate:  func(_ scheme.Context, n, old *corev1.Namespace) { n.Status = old.Status },
				ValidateUpdate: func(n, _ *corev1.Namespace) field.ErrorList { return validateFinalize(n) },
				ResetFields:    []string{"status"},
			}.Pointer()},
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Namespace]{
				PrepareUpdate:  func(_ scheme.Context, n, old *corev1.Namespace) { n.Spec = old.Spec },
				ValidateUpdate: func(n, _ *corev1.Namespace) field.ErrorList { return validateNamespacePhase(n) },
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

func prepareNamespace(_ scheme.Context, n *corev1.Namespace) {
	n.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(n.Spec.Finalizers, corev1.FinalizerKubernetes) {
		n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
	// A generated name was not known to the defaults.
	DefaultNamespace(n)
}

// ValidateNamespace checks a new namespace.
func ValidateNamespace(n *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for _, f := range n.Spec.Finalizers {
		errs = append(errs, validateFinalizer(f, field.NewPath("spec", "finalizers"))...)
	}
	return errs
}

func validateFinalize(n *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for i, f := range n.Spec.Finalizers {
		errs = append(errs, validateFinalizer(f, field.NewPath("spec", "finalizers").Index(i))...)
	}
	return errs
}

func validateFinalizer(f corev1.FinalizerName, path *field.Path) field.ErrorList {
	errs := check.QualifiedName(path, string(f))
	if strings.Contains(string(f), "/") {
		return errs
	}
	switch f {
	case corev1.FinalizerKubernetes, metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		return errs
	}
	return append(errs, field.Invalid(path, f, "name is neither a standard finalizer name nor is it fully qualified"))
}

func validateNamespacePhase(n *corev1.Namespace) field.ErrorList {
	path := field.NewPath("status", "Phase")
	if n.DeletionTimestamp.IsZero() {
		if n.Status.Phase != corev1.NamespaceActive {
			return field.ErrorList{field.Invalid(path, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
		}
	} else if n.Status.Phase != corev1.NamespaceTerminating {
		return field.ErrorList{field.Invalid(path, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}
