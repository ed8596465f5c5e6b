package authorization

import (
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func TestReviews(t *testing.T) {
	both := authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes:    &authorizationv1.ResourceAttributes{},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/x", Verb: "get"},
	}
	for name, c := range map[string]struct {
		obj  runtime.Object
		want []string
	}{
		"empty": {&authorizationv1.SubjectAccessReview{}, []string{
			"spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
			`spec.user: Invalid value: "": at least one of user or group must be specified`}},
		"both": {&authorizationv1.SubjectAccessReview{Spec: both}, []string{
			`spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: cannot be specified in combination with resourceAttributes`,
			`spec.user: Invalid value: "": at least one of user or group must be specified`}},
		"self with a name": {&authorizationv1.SelfSubjectAccessReview{
			ObjectMeta: metav1.ObjectMeta{Name: "a"},
			Spec:       authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{}}},
			[]string{`metadata: Invalid value: {"name":"a"}: must be empty`}},
		"managed fields do not count": {&authorizationv1.SelfSubjectAccessReview{
			ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
			Spec:       authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{}}}, nil},
		"local": {&authorizationv1.LocalSubjectAccessReview{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n"},
			Spec:       authorizationv1.SubjectAccessReviewSpec{User: "u", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "m"}}},
			[]string{`spec.resourceAttributes.namespace: Invalid value: "m": must match metadata.namespace`}},
		"no selector": {&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "u",
			ResourceAttributes: &authorizationv1.ResourceAttributes{FieldSelector: &authorizationv1.FieldSelectorAttributes{}}}},
			[]string{"spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, err := range strategyOf(c.obj).ValidateCreate(c.obj) {
				got = append(got, err.Error())
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("got %s\nwant %s", got[i], c.want[i])
				}
			}
		})
	}
}

func strategyOf(obj runtime.Object) scheme.Strategy {
	switch obj.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		return selfHooks.Erase()
	case *authorizationv1.LocalSubjectAccessReview:
		return localHooks.Erase()
	}
	return reviewHooks.Erase()
}
