package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func resourceQuotaResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ResourceQuota",
		Plural: "resourcequotas", Singular: "resourcequota",
		ShortNames:    []string{"quota"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ResourceQuota) },
		NewList:       func() runtime.Object { return new(corev1.ResourceQuotaList) },
		StoragePrefix: "resourcequotas",
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.String("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
			table.String("Limit", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
			table.Age(),
		},
		Row: scheme.Rows(resourceQuotaRow),
		Strategy: scheme.Hooks[corev1.ResourceQuota]{
			Default: func(q *corev1.ResourceQuota) {
				RoundResources(q.Spec.Hard)
				RoundResources(q.Status.Hard)
				RoundResources(q.Status.Used)
			},
			PrepareCreate:  func(_ scheme.Context, q *corev1.ResourceQuota) { q.Status = corev1.ResourceQuotaStatus{} },
			ValidateCreate: ValidateResourceQuota,
			PrepareUpdate:  func(_ scheme.Context, q, old *corev1.ResourceQuota) { q.Status = old.Status },
			ValidateUpdate: ValidateResourceQuotaUpdate,
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.ResourceQuota]{
				PrepareUpdate:  func(_ scheme.Context, q, old *corev1.ResourceQuota) { q.Spec = old.Spec },
				ValidateUpdate: func(q, _ *corev1.ResourceQuota) field.ErrorList { return validateQuotaStatus(q) },
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

// resourceQuotaRow shows used/hard, limits in a column of their own.
func resourceQuotaRow(q *corev1.ResourceQuota, now metav1.Time) []any {
	var requests, limits []string
	for _, name := range sortedNames(q.Status.Hard) {
		used, hard := q.Status.Used[name], q.Status.Hard[name]
		text := string(name) + ": " + used.String() + "/" + hard.String()
		if strings.HasPrefix(string(name), "limits.") {
			limits = append(limits, text)
		} else {
			requests = append(requests, text)
		}
	}
	return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), table.Since(q.CreationTimestamp, now)}
}

func sortedNames(l corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ValidateResourceQuota checks the limits and the scopes they are under.
func ValidateResourceQuota(q *corev1.ResourceQuota) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateQuotaList(q.Spec.Hard, path.Child("hard"))
	errs = append(errs, validateScopes(&q.Spec, path.Child("scopes"))...)
	return append(errs, validateScopeSelector(&q.Spec, path.Child("scopeSelector"))...)
}

// ValidateResourceQuotaUpdate keeps the scopes, in any order.
func ValidateResourceQuotaUpdate(q, old *corev1.ResourceQuota) field.ErrorList {
	errs := ValidateResourceQuota(q)
	for _, s := range q.Spec.Scopes {
		if !slices.Contains(old.Spec.Scopes, s) {
			return append(errs, scopesChanged(q))
		}
	}
	for _, s := range old.Spec.Scopes {
		if !slices.Contains(q.Spec.Scopes, s) {
			return append(errs, scopesChanged(q))
		}
	}
	return errs
}

func scopesChanged(q *corev1.ResourceQuota) *field.Error {
	return field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, check.Immutable)
}

func validateQuotaStatus(q *corev1.ResourceQuota) field.ErrorList {
	var errs field.ErrorList
	if q.ResourceVersion == "" {
		errs = append(errs, field.Required(field.NewPath("resourceVersion"), ""))
	}
	path := field.NewPath("status")
	errs = append(errs, validateQuotaList(q.Status.Hard, path.Child("hard"))...)
	return append(errs, validateQuotaList(q.Status.Used, path.Child("used"))...)
}

func validateQuotaList(l corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, q := range l {
		at := path.Key(string(name))
		errs = append(errs, validateQuotaName(string(name), at)...)
		errs = append(errs, validateAmount(name, q, at)...)
	}
	inOrder(errs)
	return errs
}

// quotaScopes are the scopes there are, and what a quota under each may limit.
var quotaScopes = map[corev1.ResourceQuotaScope]map[string]bool{
	corev1.ResourceQuotaScopeTerminating:               podQuotaNames,
	corev1.ResourceQuotaScopeNotTerminating:            podQuotaNames,
	corev1.ResourceQuotaScopeBestEffort:                nameSet("pods"),
	corev1.ResourceQuotaScopeNotBestEffort:             podQuotaNames,
	corev1.ResourceQuotaScopePriorityClass:             podQuotaNames,
	corev1.ResourceQuotaScopeCrossNamespacePodAffinity: podQuotaNames,
	corev1.ResourceQuotaScopeVolumeAttributesClass:     nameSet("persistentvolumeclaims", "requests.storage"),
}

var podQuotaNames = nameSet("pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory")

// outOfScope counts the limited resources that a scope does not select.
// Names with a prefix are others' business.
func outOfScope(scope corev1.ResourceQuotaScope, hard corev1.ResourceList) (n int) {
	allowed, known := quotaScopes[scope]
	if !known {
		return 0
	}
	for name := range hard {
		if isQuotaName(string(name)) && !allowed[string(name)] {
			n++
		}
	}
	return n
}

func conflictingScopes(scopes []corev1.ResourceQuotaScope) (n int) {
	both := func(a, b corev1.ResourceQuotaScope) {
		if slices.Contains(scopes, a) && slices.Contains(scopes, b) {
			n++
		}
	}
	both(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort)
	both(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating)
	return n
}

func validateScopes(s *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	invalid := func(n int, detail string) {
		for range n {
			errs = append(errs, field.Invalid(path, s.Scopes, detail))
		}
	}
	for _, scope := range s.Scopes {
		if _, ok := quotaScopes[scope]; !ok {
			invalid(1, "unsupported scope")
		}
		invalid(outOfScope(scope, s.Hard), "unsupported scope applied to resource")
	}
	invalid(conflictingScopes(s.Scopes), "conflicting scopes")
	return errs
}

func validateScopeSelector(s *corev1.ResourceQuotaSpec, path *field.Path) field.ErrorList {
	if s.ScopeSelector == nil {
		return nil
	}
	path = path.Child("matchExpressions")
	var errs field.ErrorList
	var scopes []corev1.ResourceQuotaScope
	for i := range s.ScopeSelector.MatchExpressions {
		r := &s.ScopeSelector.MatchExpressions[i]
		if _, ok := quotaScopes[r.ScopeName]; !ok {
			errs = append(errs, field.Invalid(path.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		for range outOfScope(r.ScopeName, s.Hard) {
			errs = append(errs, field.Invalid(path, internalform.Of(s.ScopeSelector), "unsupported scope applied to resource"))
		}
		errs = append(errs, validateScopeOperator(r, path)...)
		scopes = append(scopes, r.ScopeName)
	}
	for range conflictingScopes(scopes) {
		errs = append(errs, field.Invalid(path, scopes, "conflicting scopes"))
	}
	return errs
}

func validateScopeOperator(r *corev1.ScopedResourceSelectorRequirement, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
		corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		if r.Operator != corev1.ScopeSelectorOpExists {
			errs = append(errs, field.Invalid(path.Child("operator"), r.Operator,
				"must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "+
					"ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(path.Child("values"),
				"must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) != 0 {
			errs = append(errs, field.Invalid(path.Child("values"), r.Values,
				"must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}
