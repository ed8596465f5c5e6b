package pipeline

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

type verdict struct {
	decision authz.Decision
	reason   string
	err      error
}

func (v verdict) Authorize(context.Context, *request.User, *request.Info) (authz.Decision, string, error) {
	return v.decision, v.reason, v.err
}

func TestAuthorize(t *testing.T) {
	broken := errors.New("authorization webhook: connection refused")
	for name, c := range map[string]struct {
		of   verdict
		want func(error) bool
	}{
		"allowed":                 {verdict{authz.Allow, "", nil}, func(err error) bool { return err == nil }},
		"allowed, another failed": {verdict{authz.Allow, "", broken}, func(err error) bool { return err == nil }},
		"denied":                  {verdict{authz.Deny, "no", nil}, apierrors.IsForbidden},
		"nobody knows":            {verdict{authz.NoOpinion, "", nil}, apierrors.IsForbidden},
		"who knows can't say":     {verdict{authz.NoOpinion, "", broken}, apierrors.IsInternalError},
		"denied for a failure":    {verdict{authz.Deny, "", broken}, apierrors.IsInternalError},
	} {
		p := New(Options{Authorizer: c.of})
		if err := p.Authorize(t.Context(), &request.User{Name: "alice"}, &request.Info{Verb: "get", Resource: "pods"}); !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
