package review

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"xebec.dev/apiserver/internal/request"
)

// Attributes is what a review asks about, and what of it was ignored because
// it could not be understood: a selector that does not parse limits nothing.
func Attributes(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) (a *request.Info, ignored []string) {
	if r == nil {
		return &request.Info{Verb: n.Verb, Path: n.Path}, nil
	}
	a = &request.Info{
		IsResource: true, Verb: r.Verb, Group: r.Group, Version: r.Version, Resource: r.Resource, Subresource: r.Subresource,
		Namespace: r.Namespace, Name: r.Name,
	}
	if s := r.FieldSelector; s != nil {
		text, complete := fieldSelector(s)
		a.FieldSelector = text
		ignored = note(ignored, "fieldSelector", text, complete)
	}
	if s := r.LabelSelector; s != nil {
		text, complete := labelSelector(s)
		a.LabelSelector = text
		ignored = note(ignored, "labelSelector", text, complete)
	}
	return a, ignored
}

func note(ignored []string, field, kept string, complete bool) []string {
	switch {
	case complete:
		return ignored
	case kept != "":
		return append(ignored, "spec.resourceAttributes."+field+" partially ignored due to parse error")
	}
	return append(ignored, "spec.resourceAttributes."+field+" ignored due to parse error")
}

func join(texts []string) string { return strings.Join(texts, "; ") }

func fieldSelector(s *authorizationv1.FieldSelectorAttributes) (text string, complete bool) {
	if s.RawSelector != "" {
		p, err := fields.ParseSelector(s.RawSelector)
		if err != nil {
			return "", false
		}
		return p.String(), true
	}
	var parts []fields.Selector
	complete = true
	for _, r := range s.Requirements {
		switch {
		case len(r.Values) != 1:
			complete = false
		case r.Operator == metav1.FieldSelectorOpIn:
			parts = append(parts, fields.OneTermEqualSelector(r.Key, r.Values[0]))
		case r.Operator == metav1.FieldSelectorOpNotIn:
			parts = append(parts, fields.OneTermNotEqualSelector(r.Key, r.Values[0]))
		default:
			complete = false
		}
	}
	if len(parts) == 0 {
		return "", complete
	}
	return fields.AndSelectors(parts...).String(), complete
}

var labelOperators = map[metav1.LabelSelectorOperator]selection.Operator{
	metav1.LabelSelectorOpIn: selection.In, metav1.LabelSelectorOpNotIn: selection.NotIn,
	metav1.LabelSelectorOpExists: selection.Exists, metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
}

func labelSelector(s *authorizationv1.LabelSelectorAttributes) (text string, complete bool) {
	if s.RawSelector != "" {
		p, err := labels.Parse(s.RawSelector)
		if err != nil {
			return "", false
		}
		return p.String(), true
	}
	out, complete := labels.NewSelector(), true
	for _, r := range s.Requirements {
		op, ok := labelOperators[r.Operator]
		if !ok {
			complete = false
			continue
		}
		requirement, err := labels.NewRequirement(r.Key, op, r.Values)
		if err != nil {
			complete = false
			continue
		}
		out = out.Add(*requirement)
	}
	return out.String(), complete
}
