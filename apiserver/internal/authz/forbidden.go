package authz

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/request"
)

// Forbidden is the 403 a user gets for what it asked.
func Forbidden(u *request.User, a *request.Info, reason string) *apierrors.StatusError {
	message := Describe(u, a)
	if reason != "" {
		message += ": " + reason
	}
	if !a.IsResource {
		e := apierrors.NewForbidden(schema.GroupResource{}, "", errors.New(message))
		e.ErrStatus.Message = "forbidden: " + message
		e.ErrStatus.Details = &metav1.StatusDetails{}
		return e
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name, errors.New(message))
}

// Describe says what the user cannot do.
func Describe(u *request.User, a *request.Info) string {
	if !a.IsResource {
		return fmt.Sprintf("User %q cannot %s path %q", u.Name, a.Verb, a.Path)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "User %q cannot %s resource %q in API group %q", u.Name, a.Verb, a.CombinedResource(), a.Group)
	if a.Namespace == "" {
		b.WriteString(" at the cluster scope")
	} else {
		fmt.Fprintf(&b, " in the namespace %q", a.Namespace)
	}
	return b.String()
}
