package webhook

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"xebec.dev/apiserver/internal/request"
)

// Spec puts a request into the words of a review.
func Spec(u *request.User, a *request.Info) *authorizationv1.SubjectAccessReviewSpec {
	s := &authorizationv1.SubjectAccessReviewSpec{User: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if s.Extra == nil {
			s.Extra = make(map[string]authorizationv1.ExtraValue, len(u.Extra))
		}
		s.Extra[k] = v
	}
	if !a.IsResource {
		s.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.Path, Verb: a.Verb}
		return s
	}
	s.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: a.Namespace, Verb: a.Verb, Group: a.Group, Version: a.Version,
		Resource: a.Resource, Subresource: a.Subresource, Name: a.Name,
		FieldSelector: fieldSelector(a.FieldSelector), LabelSelector: labelSelector(a.LabelSelector),
	}
	return s
}

// old is the spec in the form of v1beta1, which differs in one field's name.
func old(s *authorizationv1.SubjectAccessReviewSpec) authorizationv1beta1.SubjectAccessReviewSpec {
	out := authorizationv1beta1.SubjectAccessReviewSpec{User: s.User, UID: s.UID, Groups: s.Groups}
	for k, v := range s.Extra {
		if out.Extra == nil {
			out.Extra = map[string]authorizationv1beta1.ExtraValue{}
		}
		out.Extra[k] = authorizationv1beta1.ExtraValue(v)
	}
	if n := s.NonResourceAttributes; n != nil {
		out.NonResourceAttributes = &authorizationv1beta1.NonResourceAttributes{Path: n.Path, Verb: n.Verb}
	}
	if r := s.ResourceAttributes; r != nil {
		out.ResourceAttributes = &authorizationv1beta1.ResourceAttributes{
			Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Version: r.Version,
			Resource: r.Resource, Subresource: r.Subresource, Name: r.Name,
			FieldSelector: r.FieldSelector, LabelSelector: r.LabelSelector,
		}
	}
	return out
}

// fieldSelector is nil when the selector is empty or cannot be parsed: what
// is not understood must not look like a limit.
func fieldSelector(text string) *authorizationv1.FieldSelectorAttributes {
	if text == "" {
		return nil
	}
	s, err := fields.ParseSelector(text)
	if err != nil {
		return nil
	}
	var out []metav1.FieldSelectorRequirement
	for _, r := range s.Requirements() {
		op := metav1.FieldSelectorOpIn
		if r.Operator == selection.NotEquals {
			op = metav1.FieldSelectorOpNotIn
		}
		out = append(out, metav1.FieldSelectorRequirement{Key: r.Field, Operator: op, Values: []string{r.Value}})
	}
	if len(out) == 0 {
		return nil
	}
	return &authorizationv1.FieldSelectorAttributes{Requirements: out}
}

var operators = map[selection.Operator]metav1.LabelSelectorOperator{
	selection.In: metav1.LabelSelectorOpIn, selection.Equals: metav1.LabelSelectorOpIn, selection.DoubleEquals: metav1.LabelSelectorOpIn,
	selection.NotIn: metav1.LabelSelectorOpNotIn, selection.NotEquals: metav1.LabelSelectorOpNotIn,
	selection.Exists: metav1.LabelSelectorOpExists, selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
}

func labelSelector(text string) *authorizationv1.LabelSelectorAttributes {
	if text == "" {
		return nil
	}
	s, err := labels.Parse(text)
	if err != nil {
		return nil
	}
	requirements, _ := s.Requirements()
	var out []metav1.LabelSelectorRequirement
	for _, r := range requirements {
		if op, ok := operators[r.Operator()]; ok { // gt and lt have no word in reviews
			out = append(out, metav1.LabelSelectorRequirement{Key: r.Key(), Operator: op, Values: r.ValuesUnsorted()})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &authorizationv1.LabelSelectorAttributes{Requirements: out}
}
