package server

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// loading is an authorizer that does not refuse for want of rules: until they
// are read from etcd, health is told to everybody (it is bad), and what nobody
// allows is not forbidden but cannot be said yet.
type loading struct {
	authz.Authorizer
	loaded func() bool
}

func (l loading) Authorize(ctx context.Context, u *request.User, i *request.Info) (authz.Decision, string, error) {
	decision, reason, err := l.Authorizer.Authorize(ctx, u, i)
	if decision == authz.Allow || l.loaded() {
		return decision, reason, err
	}
	if !i.IsResource && i.Verb == "get" && isHealth(i.Path) {
		return authz.Allow, "the rules are not loaded yet", nil
	}
	notYet := apierrors.NewServiceUnavailable("the API server is starting: it waits for etcd and for the rules of authorization in it")
	notYet.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return authz.NoOpinion, "", notYet
}

func isHealth(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "healthz" || first == "livez" || first == "readyz"
}
