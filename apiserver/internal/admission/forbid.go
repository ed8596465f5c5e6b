package admission

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Forbid makes the 403 of a refusal. An error that is an API status itself,
// and does not merely wrap one, is kept.
func (a *Attributes) Forbid(err error) error {
	if status, ok := err.(*apierrors.StatusError); ok { //nolint:errorlint // see above
		return status
	}
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.ObjectName(), err)
}

// ObjectName is the name of what the request is about; before a name is
// generated its prefix.
func (a *Attributes) ObjectName() string {
	if a.Name != "" {
		return a.Name
	}
	if o, ok := a.Object.(metav1.Object); ok {
		if o.GetName() != "" {
			return o.GetName()
		}
		if o.GetGenerateName() != "" {
			return o.GetGenerateName()
		}
	}
	return "Unknown"
}
