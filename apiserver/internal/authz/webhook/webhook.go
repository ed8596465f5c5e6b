// Package webhook asks an outside service by SubjectAccessReviews.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/kubeconfig"
	"xebec.dev/apiserver/internal/request"
)

// Condition decides whether the webhook is to be asked about a review.
type Condition func(ctx context.Context, spec *authorizationv1.SubjectAccessReviewSpec) (bool, error)

// Options say how the webhook is asked. The zero value asks always, with
// reviews of v1, remembers nothing and has no opinion when the webhook fails.
type Options struct {
	// Version is "v1" or "v1beta1".
	Version                        string
	AuthorizedTTL, UnauthorizedTTL time.Duration
	Timeout                        time.Duration
	// DenyOnFailure is the failure policy Deny.
	DenyOnFailure bool
	Conditions    []Condition
	Retry         kubeconfig.Retry
	// Name is the webhook's in metrics.
	Name    string
	Metrics *Metrics
	Now     func() time.Time
}

// Authorizer is one webhook.
type Authorizer struct {
	remote *kubeconfig.Remote
	o      Options
	cache  cache
}

// New makes an authorizer that asks remote.
func New(remote *kubeconfig.Remote, o Options) *Authorizer {
	if o.Retry.Tries == 0 {
		o.Retry = kubeconfig.DefaultRetry
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return &Authorizer{remote: remote, o: o}
}

// maxKey is the longest question that is remembered.
const maxKey = 10000

// Authorize implements authz.Authorizer.
func (z *Authorizer) Authorize(ctx context.Context, u *request.User, a *request.Info) (authz.Decision, string, error) {
	spec := Spec(u, a)
	if ask, err := z.applies(ctx, spec); err != nil {
		return z.onFailure(), "", err
	} else if !ask {
		return authz.NoOpinion, "", nil
	}
	key, err := json.Marshal(spec)
	if err != nil {
		return z.onFailure(), "", err
	}
	now := z.o.Now()
	status, ok := z.cache.get(string(key), now)
	if !ok {
		start := time.Now()
		status, err = z.ask(ctx, spec)
		z.o.Metrics.asked(z.o.Name, time.Since(start), err, !z.o.DenyOnFailure)
		if err != nil {
			return z.onFailure(), "", err
		}
		ttl := z.o.UnauthorizedTTL
		if status.Allowed {
			ttl = z.o.AuthorizedTTL
		}
		if ttl > 0 && len(key) <= maxKey {
			z.cache.put(string(key), status, now, ttl)
		}
	}
	return decide(status)
}

func (z *Authorizer) onFailure() authz.Decision {
	if z.o.DenyOnFailure {
		return authz.Deny
	}
	return authz.NoOpinion
}

// applies is false as soon as one condition is, whatever fails in others.
func (z *Authorizer) applies(ctx context.Context, spec *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
	if len(z.o.Conditions) == 0 {
		return true, nil
	}
	start := time.Now()
	ask, err := z.matches(ctx, spec)
	z.o.Metrics.matched(z.o.Name, time.Since(start), ask, err)
	return ask, err
}

func (z *Authorizer) matches(ctx context.Context, spec *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
	var errs []error
	for _, c := range z.o.Conditions {
		ok, err := c(ctx, spec)
		if err != nil {
			errs = append(errs, err)
		} else if !ok {
			return false, nil
		}
	}
	return true, errors.Join(errs...)
}

func decide(s *authorizationv1.SubjectAccessReviewStatus) (authz.Decision, string, error) {
	var err error
	if s.EvaluationError != "" {
		err = errors.New(s.EvaluationError)
	}
	switch {
	case s.Denied && s.Allowed:
		return authz.Deny, s.Reason, errors.New("webhook subject access review returned both allow and deny response")
	case s.Denied:
		return authz.Deny, s.Reason, nil
	case s.Allowed:
		return authz.Allow, s.Reason, nil
	}
	return authz.NoOpinion, s.Reason, err
}

func (z *Authorizer) ask(ctx context.Context, spec *authorizationv1.SubjectAccessReviewSpec) (*authorizationv1.SubjectAccessReviewStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, z.o.Timeout)
	defer cancel()
	if z.o.Version == "v1beta1" {
		question := &authorizationv1beta1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1beta1", Kind: "SubjectAccessReview"},
			Spec:     old(spec),
		}
		var answer authorizationv1beta1.SubjectAccessReview
		if err := z.remote.Post(ctx, z.o.Retry, question, &answer); err != nil {
			return nil, fmt.Errorf("authorization webhook: %w", err)
		}
		s := authorizationv1.SubjectAccessReviewStatus(answer.Status)
		return &s, nil
	}
	question := &authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec:     *spec,
	}
	var answer authorizationv1.SubjectAccessReview
	if err := z.remote.Post(ctx, z.o.Retry, question, &answer); err != nil {
		return nil, fmt.Errorf("authorization webhook: %w", err)
	}
	return &answer.Status, nil
}

var errNoRules = errors.New("webhook authorizer does not support user rule resolution")

// RulesFor implements authz.Resolver: only the webhook knows.
func (z *Authorizer) RulesFor(context.Context, *request.User, string) (authz.Rules, error) {
	return authz.Rules{Incomplete: true}, errNoRules
}
