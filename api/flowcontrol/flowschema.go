package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

// maxPrecedence is the last to match.
const maxPrecedence = 10000

var schemaHooks = scheme.Hooks[flowcontrolv1.FlowSchema]{
	Default:        DefaultFlowSchema,
	PrepareCreate:  func(_ scheme.Context, s *flowcontrolv1.FlowSchema) { s.Status = flowcontrolv1.FlowSchemaStatus{} },
	PrepareUpdate:  func(_ scheme.Context, s, old *flowcontrolv1.FlowSchema) { s.Status = old.Status },
	ValidateCreate: validateSchema,
	ValidateUpdate: func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return validateSchema(s) },
	SpecChanged: func(s, old *flowcontrolv1.FlowSchema) bool {
		return !apiequality.Semantic.DeepEqual(&s.Spec, &old.Spec)
	},
	ResetFields: []string{"status"},
}

var schemaStatusHooks = scheme.UpdateHooks[flowcontrolv1.FlowSchema]{
	PrepareUpdate: func(_ scheme.Context, s, old *flowcontrolv1.FlowSchema) {
		s.Spec = old.Spec
		metav1.ResetObjectMetaForStatus(&s.ObjectMeta, &old.ObjectMeta)
	},
	ValidateUpdate: func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return validateSchemaStatus(&s.Status) },
	ResetFields:    []string{"metadata", "spec"},
}

func validateSchema(s *flowcontrolv1.FlowSchema) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateSchemaSpec(s.Name, &s.Spec, path)
	if fixed := MandatoryFlowSchemaSpec(s.Name); fixed != nil && !apiequality.Semantic.DeepEqual(&s.Spec, fixed) {
		errs = append(errs, field.Invalid(path, internalform.Of(s.Spec), fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
	}
	return append(errs, validateSchemaStatus(&s.Status)...)
}

func validateSchemaSpec(name string, s *flowcontrolv1.FlowSchemaSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("matchingPrecedence")
	if s.MatchingPrecedence <= 0 {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, "must be a positive value"))
	}
	if s.MatchingPrecedence > maxPrecedence {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, fmt.Sprintf("must not be greater than %v", maxPrecedence)))
	}
	if s.MatchingPrecedence == 1 && name != Exempt {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	if m := s.DistinguisherMethod; m != nil {
		supported := []flowcontrolv1.FlowDistinguisherMethodType{flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType}
		if !slices.Contains(supported, m.Type) {
			errs = append(errs, field.NotSupported(path.Child("distinguisherMethod", "type"), internalform.Of(m), supported))
		}
	}
	at = path.Child("priorityLevelConfiguration", "name")
	if level := s.PriorityLevelConfiguration.Name; level == "" {
		errs = append(errs, field.Required(at, "must reference a priority level"))
	} else {
		errs = append(errs, check.Subdomain(at, level)...)
	}
	for i := range s.Rules {
		errs = append(errs, validateRule(&s.Rules[i], path.Child("rules").Index(i))...)
	}
	return errs
}

func validateRule(r *flowcontrolv1.PolicyRulesWithSubjects, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, validateSubject(&r.Subjects[i], path.Child("subjects").Index(i))...)
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateResourceRule(&r.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validateNonResourceRule(&r.NonResourceRules[i], path.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

// validateSubject wants the part that the kind names, and no other.
func validateSubject(s *flowcontrolv1.Subject, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	other := func(set bool, name string, kind flowcontrolv1.SubjectKind) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), fmt.Sprintf("%s is forbidden when subject kind is not '%s'", name, kind)))
		}
	}
	switch s.Kind {
	case flowcontrolv1.SubjectKindServiceAccount:
		errs = append(errs, validateAccount(s.ServiceAccount, path.Child("serviceAccount"))...)
		other(s.User != nil, "user", flowcontrolv1.SubjectKindUser)
		other(s.Group != nil, "group", flowcontrolv1.SubjectKindGroup)
	case flowcontrolv1.SubjectKindUser:
		if s.User == nil {
			errs = append(errs, field.Required(path.Child("user"), "user is required when subject kind is 'User'"))
		} else {
			errs = append(errs, check.Required(path.Child("user", "name"), s.User.Name)...)
		}
		other(s.ServiceAccount != nil, "serviceAccount", flowcontrolv1.SubjectKindServiceAccount)
		other(s.Group != nil, "group", flowcontrolv1.SubjectKindGroup)
	case flowcontrolv1.SubjectKindGroup:
		if s.Group == nil {
			errs = append(errs, field.Required(path.Child("group"), "group is required when subject kind is 'Group'"))
		} else {
			errs = append(errs, check.Required(path.Child("group", "name"), s.Group.Name)...)
		}
		other(s.ServiceAccount != nil, "serviceAccount", flowcontrolv1.SubjectKindServiceAccount)
		other(s.User != nil, "user", flowcontrolv1.SubjectKindUser)
	default:
		errs = append(errs, field.NotSupported(path.Child("kind"), s.Kind, []flowcontrolv1.SubjectKind{
			flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser}))
	}
	return errs
}

func validateAccount(a *flowcontrolv1.ServiceAccountSubject, path *field.Path) field.ErrorList {
	if a == nil {
		return field.ErrorList{field.Required(path, "serviceAccount is required when subject kind is 'ServiceAccount'")}
	}
	var errs field.ErrorList
	if a.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else if a.Name != flowcontrolv1.NameAll {
		errs = append(errs, check.Subdomain(path.Child("name"), a.Name)...)
	}
	if a.Namespace == "" {
		return append(errs, field.Required(path.Child("namespace"), "must specify namespace for service account"))
	}
	return append(errs, check.Label(path.Child("namespace"), a.Namespace)...)
}

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateVerbs(given []string, path *field.Path) field.ErrorList {
	errs, all := validateAllOrSome(given, "verbs must contain at least one value", "verbs", path)
	if len(errs) > 0 || all {
		return errs
	}
	if slices.ContainsFunc(given, func(v string) bool { return !slices.Contains(verbs, v) }) {
		return field.ErrorList{field.NotSupported(path, given, verbs)}
	}
	return nil
}

// validateAllOrSome wants something, and "*" only alone; all tells that it is
// "*". An empty required allows nothing.
func validateAllOrSome(given []string, required, what string, path *field.Path) (errs field.ErrorList, all bool) {
	if len(given) == 0 && required != "" {
		return field.ErrorList{field.Required(path, required)}, false
	}
	if !slices.Contains(given, "*") {
		return nil, false
	}
	if len(given) > 1 {
		return field.ErrorList{field.Invalid(path, given, "if '*' is present, must not specify other "+what)}, true
	}
	return nil, true
}

func validateResourceRule(r *flowcontrolv1.ResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, path.Child("verbs"))
	groups, _ := validateAllOrSome(r.APIGroups, "resource rules must supply at least one api group", "api groups", path.Child("apiGroups"))
	resources, _ := validateAllOrSome(r.Resources, "resource rules must supply at least one resource", "resources", path.Child("resources"))
	errs = append(append(errs, groups...), resources...)

	required := "resource rules that are not cluster scoped must supply at least one namespace"
	if r.ClusterScope {
		required = ""
	}
	at := path.Child("namespaces")
	namespaces, all := validateAllOrSome(r.Namespaces, required, "namespaces", at)
	if len(namespaces) > 0 || all {
		return append(errs, namespaces...)
	}
	for i, n := range r.Namespaces {
		for _, m := range validation.IsDNS1123Label(n) {
			errs = append(errs, field.Invalid(at.Index(i), n, "each member of this list must be '*' or a DNS-1123 label; "+m))
		}
	}
	return errs
}

func validateNonResourceRule(r *flowcontrolv1.NonResourcePolicyRule, path *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, path.Child("verbs"))
	at := path.Child("nonResourceURLs")
	urls, all := validateAllOrSome(r.NonResourceURLs, "nonResourceURLs must contain at least one value", "non-resource URLs", at)
	if len(urls) > 0 || all {
		return append(errs, urls...)
	}
	for i, u := range r.NonResourceURLs {
		if fault := urlFault(u); fault != "" {
			errs = append(errs, field.Invalid(at.Index(i), u, fault))
		}
	}
	return errs
}

func urlFault(u string) string {
	switch {
	case u == "":
		return "must not be empty"
	case u == "/":
		return ""
	case u[0] != '/':
		return "must start with slash"
	case strings.Contains(u, " "):
		return "must not contain white-space"
	case strings.Contains(u, "//"):
		return "must not contain double slash"
	}
	if n := strings.Count(u, "*"); n > 1 || n == 1 && !strings.HasSuffix(u, "/*") {
		return "wildcard can only do suffix matching"
	}
	return ""
}

func validateSchemaStatus(s *flowcontrolv1.FlowSchemaStatus) field.ErrorList {
	return validateConditionTypes(len(s.Conditions), func(i int) string { return string(s.Conditions[i].Type) })
}

func validateConditionTypes(n int, typeOf func(int) string) field.ErrorList {
	var errs field.ErrorList
	seen := make(map[string]bool, n)
	for i := range n {
		t, at := typeOf(i), field.NewPath("status", "conditions").Index(i).Child("type")
		if seen[t] {
			errs = append(errs, field.Duplicate(at, t))
		}
		seen[t] = true
		if t == "" {
			errs = append(errs, field.Required(at, ""))
		}
	}
	return errs
}
