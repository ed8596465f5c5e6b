// Package certificatesigning lets only those issue certificates who may sign
// for the request's signer.
package certificatesigning

import (
	"bytes"
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/signer"
	"xebec.dev/apiserver/internal/authz"
)

// Plugin implements CertificateSigning.
type Plugin struct{ Authorizer authz.Authorizer }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "CertificateSigning" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Update }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Subresource != "status" {
		return nil
	}
	old, ok := a.Old.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return nil
	}
	r := a.Object.(*certificatesv1.CertificateSigningRequest)
	if bytes.Equal(r.Status.Certificate, old.Status.Certificate) && equality.Semantic.DeepEqual(r.Status.Conditions, old.Status.Conditions) {
		return nil
	}
	if signer.Permitted(ctx, p.Authorizer, a.User, "sign", old.Spec.SignerName) {
		return nil
	}
	return a.Forbid(fmt.Errorf("user not permitted to sign requests with signerName %q", old.Spec.SignerName))
}
