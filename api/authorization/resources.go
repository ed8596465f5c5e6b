// Package authorization has the resources of the API group authorization.k8s.io: names, defaults, validation,
// columns and update rules.
package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "authorization.k8s.io", Version: "v1", Kind: "LocalSubjectAccessReview",
			Plural: "localsubjectaccessreviews", Singular: "localsubjectaccessreview",
			Namespaced: true,
			Verbs:      []string{"create"},
			New:        func() runtime.Object { return new(authorizationv1.LocalSubjectAccessReview) },
			Strategy:   localHooks.Erase(),
		},
		{
			Group: "authorization.k8s.io", Version: "v1", Kind: "SelfSubjectAccessReview",
			Plural: "selfsubjectaccessreviews", Singular: "selfsubjectaccessreview",
			Verbs:    []string{"create"},
			New:      func() runtime.Object { return new(authorizationv1.SelfSubjectAccessReview) },
			Strategy: selfHooks.Erase(),
		},
		{
			Group: "authorization.k8s.io", Version: "v1", Kind: "SelfSubjectRulesReview",
			Plural: "selfsubjectrulesreviews", Singular: "selfsubjectrulesreview",
			Verbs: []string{"create"},
			New:   func() runtime.Object { return new(authorizationv1.SelfSubjectRulesReview) },
		},
		{
			Group: "authorization.k8s.io", Version: "v1", Kind: "SubjectAccessReview",
			Plural: "subjectaccessreviews", Singular: "subjectaccessreview",
			Verbs:    []string{"create"},
			New:      func() runtime.Object { return new(authorizationv1.SubjectAccessReview) },
			Strategy: reviewHooks.Erase(),
		},
	}
}
