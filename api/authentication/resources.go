// Package authentication has the resources of the API group authentication.k8s.io: names, defaults, validation,
// columns and update rules.
package authentication

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "authentication.k8s.io", Version: "v1", Kind: "SelfSubjectReview",
			Plural: "selfsubjectreviews", Singular: "selfsubjectreview",
			Verbs: []string{"create"},
			New:   func() runtime.Object { return new(authenticationv1.SelfSubjectReview) },
		},
		{
			Group: "authentication.k8s.io", Version: "v1", Kind: "TokenReview",
			Plural: "tokenreviews", Singular: "tokenreview",
			Verbs: []string{"create"},
			New:   func() runtime.Object { return new(authenticationv1.TokenReview) },
		},
	}
}
