// Package review answers the kinds that are questions: may this user do that,
// whose token is this, who am I.
package review

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/token"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// Reviewer answers with what the server itself goes by.
type Reviewer struct {
	Authorizer authz.Authorizer
	Tokens     authn.TokenAuthenticator
	// Own are the API server's audiences.
	Own []string
}

// Review answers obj, an object of one of the kinds, for the user who asks.
// Errors are API statuses.
func (v *Reviewer) Review(ctx context.Context, r *scheme.Resource, user *request.User, obj runtime.Object) (runtime.Object, error) {
	if validate := r.Strategy.ValidateCreate; validate != nil {
		if errs := validate(obj); len(errs) > 0 {
			// The kind is not told: these kinds were never registered with one.
			return nil, apierrors.NewInvalid(schema.GroupKind{Group: r.Group}, "", errs)
		}
	}
	switch o := obj.(type) {
	case *authorizationv1.SubjectAccessReview:
		o.Status = v.access(ctx, subject(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.LocalSubjectAccessReview:
		o.Status = v.access(ctx, subject(&o.Spec), o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.SelfSubjectAccessReview:
		o.Status = v.access(ctx, user, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
	case *authorizationv1.SelfSubjectRulesReview:
		return o, v.rules(ctx, user, o)
	case *authenticationv1.TokenReview:
		return o, v.token(ctx, o)
	case *authenticationv1.SelfSubjectReview:
		o.Status.UserInfo = userInfo(user)
	default:
		return nil, apierrors.NewInternalError(fmt.Errorf("no review for %T", obj))
	}
	return obj, nil
}

func subject(s *authorizationv1.SubjectAccessReviewSpec) *request.User {
	u := &request.User{Name: s.User, UID: s.UID, Groups: s.Groups}
	for k, v := range s.Extra {
		if u.Extra == nil {
			u.Extra = make(map[string][]string, len(s.Extra))
		}
		u.Extra[k] = v
	}
	return u
}

func (v *Reviewer) access(ctx context.Context, u *request.User, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	a, ignored := Attributes(r, n)
	d, reason, err := v.Authorizer.Authorize(ctx, u, a)
	if err != nil {
		ignored = slices.Insert(ignored, 0, err.Error())
	}
	return authorizationv1.SubjectAccessReviewStatus{
		Allowed: d == authz.Allow, Denied: d == authz.Deny, Reason: reason, EvaluationError: join(ignored),
	}
}

func (v *Reviewer) rules(ctx context.Context, u *request.User, o *authorizationv1.SelfSubjectRulesReview) error {
	if o.Spec.Namespace == "" {
		return apierrors.NewBadRequest("no namespace on request")
	}
	resolver, ok := v.Authorizer.(authz.Resolver)
	if !ok {
		return apierrors.NewInternalError(errors.New("the authorizer cannot list rules"))
	}
	rules, err := resolver.RulesFor(ctx, u, o.Spec.Namespace)
	o.Spec = authorizationv1.SelfSubjectRulesReviewSpec{}
	o.Status = authorizationv1.SubjectRulesReviewStatus{
		ResourceRules:    append([]authorizationv1.ResourceRule{}, rules.Resource...),
		NonResourceRules: append([]authorizationv1.NonResourceRule{}, rules.NonResource...),
		Incomplete:       rules.Incomplete,
	}
	if err != nil {
		o.Status.EvaluationError = err.Error()
	}
	return nil
}

var errOtherAudience = errors.New("authenticator returned identity with different audience")

func (v *Reviewer) token(ctx context.Context, o *authenticationv1.TokenReview) error {
	if o.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	audiences := o.Spec.Audiences
	if len(audiences) == 0 {
		audiences = v.Own
	}
	o.Status = authenticationv1.TokenReviewStatus{}
	id, err := v.Tokens.AuthenticateToken(ctx, o.Spec.Token, audiences)
	if err != nil || id == nil {
		// The server's own credential is asked first and knows no such token.
		errs := []error{token.ErrInvalid}
		if err != nil {
			errs = append(errs, err)
		}
		o.Status.Error = utilerrors.NewAggregate(errs).Error()
		return nil
	}
	id = authn.WithAuthenticatedGroup(id)
	match := id.Audiences
	if match == nil {
		match = v.Own
	}
	if len(audiences) > 0 && len(token.Intersect(audiences, match)) == 0 {
		return apierrors.NewInternalError(errOtherAudience)
	}
	o.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: userInfo(&id.User), Audiences: match}
	return nil
}

func userInfo(u *request.User) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if out.Extra == nil {
			out.Extra = make(map[string]authenticationv1.ExtraValue, len(u.Extra))
		}
		out.Extra[k] = v
	}
	return out
}
