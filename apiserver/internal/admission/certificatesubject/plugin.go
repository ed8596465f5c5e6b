// Package certificatesubject refuses requests for client certificates that
// would make their holder a cluster administrator.
package certificatesubject

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
)

// Plugin implements CertificateSubjectRestriction.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "CertificateSubjectRestriction" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Validate implements admission.Validator.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	r, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || a.Subresource != "" || r.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return a.Forbid(errors.New("failed to parse CSR: PEM block type must be CERTIFICATE REQUEST"))
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return a.Forbid(fmt.Errorf("failed to parse CSR: %w", err))
	}
	if slices.Contains(asked.Subject.Organization, authz.MastersGroup) {
		return a.Forbid(fmt.Errorf("use of %s signer with %s group is not allowed", r.Spec.SignerName, authz.MastersGroup))
	}
	return nil
}
