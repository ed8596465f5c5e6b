// Package pipeline is the part of a request that REST and gRPC share before
// the registry: authentication, impersonation, flow control, authorization.
package pipeline

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/tracing"
)

// Impersonator replaces the user of a request that asks for it, if it may.
type Impersonator interface {
	Impersonate(ctx context.Context, r *request.Request, c *request.Credentials) error
}

// Flow admits a request to a place among those in flight.
type Flow interface {
	// Enter waits for a place; leave gives it back.
	Enter(ctx context.Context, r *request.Request) (leave func(), err error)
}

// Options are the stages.
type Options struct {
	Authenticator authn.Authenticator
	Authorizer    authz.Authorizer
	Impersonator  Impersonator
	Flow          Flow
	// Audit records requests; nil records nothing.
	Audit *audit.Auditor
	// Trace makes a span of each request; nil makes none.
	Trace *tracing.Tracer
	// Observe is told of each request's end.
	Observe func(r *request.Request, code int)
}

// Pipeline runs the stages.
type Pipeline struct{ o Options }

// New makes a pipeline.
func New(o Options) *Pipeline { return &Pipeline{o} }

// Begin takes a request through all stages. done must be called with the
// status code once it is answered, also after an error of a later stage.
func (p *Pipeline) Begin(ctx context.Context, r *request.Request, c *request.Credentials) (_ context.Context, done func(code int), err error) {
	done = func(int) {}
	if p.o.Observe != nil {
		done = func(code int) { p.o.Observe(r, code) }
	}
	defer func() {
		if err != nil {
			done(codeOf(err))
		}
	}()
	id, err := p.o.Authenticator.Authenticate(ctx, c)
	if err != nil || id == nil {
		p.o.Audit.FailedAuthentication(r, origin(c))
		return ctx, done, apierrors.NewUnauthorized("Unauthorized")
	}
	r.User, r.AuthMethod, r.CredentialID = id.User, id.Method, id.CredentialID
	if p.o.Trace != nil {
		var span func(int)
		ctx, span = p.o.Trace.Start(ctx, r, c)
		end := done
		done = func(code int) { end(code); span(code) }
	}
	if p.o.Audit != nil {
		var record *audit.Record
		if ctx, record, err = p.o.Audit.Begin(ctx, r, origin(c)); err != nil {
			return ctx, done, err
		}
		end := done
		done = func(code int) { end(code); record.Complete(code, nil) }
	}
	if p.o.Impersonator != nil {
		if err := p.o.Impersonator.Impersonate(ctx, r, c); err != nil {
			return ctx, done, err
		}
		if r.Impersonator != nil {
			audit.From(ctx).Impersonated(&r.User, r.ImpersonationConstraint)
		}
	}
	if p.o.Flow != nil {
		leave, err := p.o.Flow.Enter(ctx, r)
		if err != nil {
			return ctx, done, err
		}
		end := done
		done = func(code int) { leave(); end(code) }
	}
	return ctx, done, p.Authorize(ctx, &r.User, &r.Info)
}

func origin(c *request.Credentials) audit.Origin {
	return audit.Origin{URI: c.URI, SourceIPs: audit.SourceIPs(c.Header, c.Remote)}
}

func codeOf(err error) int {
	if s, ok := err.(apierrors.APIStatus); ok {
		return int(s.Status().Code)
	}
	return 500
}

// Authorize asks the authorizer; nil when allowed.
func (p *Pipeline) Authorize(ctx context.Context, u *request.User, i *request.Info) error {
	decision, reason, err := p.o.Authorizer.Authorize(ctx, u, i)
	if decision == authz.Allow {
		request.Annotate(ctx, "authorization.k8s.io/decision", "allow")
		request.Annotate(ctx, "authorization.k8s.io/reason", reason)
		return nil
	}
	// Who could not be asked has not forbidden anything: Kubernetes says 500.
	if err != nil {
		request.Annotate(ctx, "authorization.k8s.io/reason", "internal error")
		if _, ok := err.(apierrors.APIStatus); ok {
			return err
		}
		return apierrors.NewInternalError(err)
	}
	request.Annotate(ctx, "authorization.k8s.io/decision", "forbid")
	request.Annotate(ctx, "authorization.k8s.io/reason", reason)
	return authz.Forbidden(u, i, reason)
}
