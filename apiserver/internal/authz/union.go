package authz

import (
	"context"
	"errors"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/apiserver/internal/request"
)

// Rules are what a user may do in a namespace, as far as an authorizer can
// list it.
type Rules struct {
	Resource    []authorizationv1.ResourceRule
	NonResource []authorizationv1.NonResourceRule
	// Incomplete is true when there may be more.
	Incomplete bool
}

// Resolver lists rules; an authorizer that implements it takes part in
// SelfSubjectRulesReviews.
type Resolver interface {
	RulesFor(ctx context.Context, u *request.User, namespace string) (Rules, error)
}

// Union asks authorizers in order until one has an opinion.
type Union []Authorizer

// Authorize implements Authorizer. Reasons and errors of those without an
// opinion are collected.
func (x Union) Authorize(ctx context.Context, u *request.User, a *request.Info) (Decision, string, error) {
	var reasons []string
	var errs []error
	for _, each := range x {
		d, reason, err := each.Authorize(ctx, u, a)
		if err != nil {
			errs = append(errs, err)
		}
		if d != NoOpinion {
			return d, reason, err
		}
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	return NoOpinion, strings.Join(reasons, "\n"), aggregate(errs)
}

// RulesFor implements Resolver: the sum of what the members say.
func (x Union) RulesFor(ctx context.Context, u *request.User, namespace string) (Rules, error) {
	var sum Rules
	var errs []error
	for _, each := range x {
		r, ok := each.(Resolver)
		if !ok {
			continue
		}
		part, err := r.RulesFor(ctx, u, namespace)
		if err != nil {
			errs = append(errs, err)
		}
		sum.Resource = append(sum.Resource, part.Resource...)
		sum.NonResource = append(sum.NonResource, part.NonResource...)
		sum.Incomplete = sum.Incomplete || part.Incomplete
	}
	return sum, aggregate(errs)
}

func aggregate(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return utilerrors.NewAggregate(errs)
}

// MastersGroup may do everything, whatever the authorization mode.
const MastersGroup = "system:masters"

// Masters allows everything to MastersGroup, before anything else is asked.
type Masters struct{}

// Authorize implements Authorizer.
func (Masters) Authorize(_ context.Context, u *request.User, _ *request.Info) (Decision, string, error) {
	for _, g := range u.Groups {
		if g == MastersGroup {
			return Allow, "", nil
		}
	}
	return NoOpinion, "", nil
}

// RulesFor implements Resolver: everything, for masters.
func (m Masters) RulesFor(ctx context.Context, u *request.User, namespace string) (Rules, error) {
	if d, _, _ := m.Authorize(ctx, u, nil); d == Allow {
		return AlwaysAllow{}.RulesFor(ctx, u, namespace)
	}
	return Rules{}, nil
}

// AlwaysAllow is the authorization mode of that name.
type AlwaysAllow struct{}

// Authorize implements Authorizer.
func (AlwaysAllow) Authorize(context.Context, *request.User, *request.Info) (Decision, string, error) {
	return Allow, "", nil
}

// RulesFor implements Resolver.
func (AlwaysAllow) RulesFor(context.Context, *request.User, string) (Rules, error) {
	all := []string{"*"}
	return Rules{
		Resource:    []authorizationv1.ResourceRule{{Verbs: all, APIGroups: all, Resources: all}},
		NonResource: []authorizationv1.NonResourceRule{{Verbs: all, NonResourceURLs: all}},
	}, nil
}

// AlwaysDeny is the authorization mode of that name.
type AlwaysDeny struct{}

var errEverythingForbidden = errors.New("Everything is forbidden.") //nolint:staticcheck // the wire's words

// Authorize implements Authorizer.
func (AlwaysDeny) Authorize(context.Context, *request.User, *request.Info) (Decision, string, error) {
	return NoOpinion, errEverythingForbidden.Error(), nil
}
