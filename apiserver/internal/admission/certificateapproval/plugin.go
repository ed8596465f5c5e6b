// Package certificateapproval lets only those approve or deny certificate
// requests who may do so for their signer.
package certificateapproval

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/signer"
	"xebec.dev/apiserver/internal/authz"
)

// Plugin implements CertificateApproval.
type Plugin struct{ Authorizer authz.Authorizer }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "CertificateApproval" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Update }

// Validate implements admission.Validator. The stored request says who signs:
// an approval cannot change it.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Subresource != "approval" {
		return nil
	}
	r, ok := a.Old.(*certificatesv1.CertificateSigningRequest)
	if !ok || signer.Permitted(ctx, p.Authorizer, a.User, "approve", r.Spec.SignerName) {
		return nil
	}
	return a.Forbid(fmt.Errorf("user not permitted to approve requests with signerName %q", r.Spec.SignerName))
}
