// Package signer asks whether a user may act for the signer of certificates.
package signer

import (
	"context"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// Permitted asks for a verb (approve, sign, attest) on a signer: by its name,
// or by its domain for all of the domain's.
func Permitted(ctx context.Context, a authz.Authorizer, u *request.User, verb, name string) bool {
	domain, _, _ := strings.Cut(name, "/")
	for _, n := range [...]string{name, domain + "/*"} {
		d, _, err := a.Authorize(ctx, u, &request.Info{
			IsResource: true, Verb: verb, Prefix: "apis", Group: certificatesv1.GroupName, Version: "*", Resource: "signers", Name: n,
		})
		if err == nil && d == authz.Allow {
			return true
		}
	}
	return false
}
