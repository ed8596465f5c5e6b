// Package authz decides whether a user may do what is asked.
package authz

import (
	"context"

	"xebec.dev/apiserver/internal/request"
)

// Decision of one authorizer.
type Decision int

const (
	// NoOpinion lets the next authorizer decide; at the end it denies.
	NoOpinion Decision = iota
	Allow
	Deny
)

// Authorizer decides on one request. The reason is shown to the user in the
// Forbidden message or the SubjectAccessReview status.
type Authorizer interface {
	Authorize(ctx context.Context, u *request.User, a *request.Info) (d Decision, reason string, err error)
}
