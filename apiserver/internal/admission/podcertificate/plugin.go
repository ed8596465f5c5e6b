// Package podcertificate lets only those answer requests for pod certificates
// who may sign for the requested signer.
package podcertificate

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/signer"
	"xebec.dev/apiserver/internal/authz"
)

// Plugin is always on.
type Plugin struct{ Authorizer authz.Authorizer }

var _ admission.Validator = (*Plugin)(nil)

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodCertificateSigning" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Update }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	r, ok := a.Object.(*certificatesv1beta1.PodCertificateRequest) // as they are stored
	old, hasOld := a.Old.(*certificatesv1beta1.PodCertificateRequest)
	if !ok || !hasOld || a.Subresource != "status" || a.User == nil || apiequality.Semantic.DeepEqual(&r.Status, &old.Status) {
		return nil
	}
	name := old.Spec.SignerName
	if signer.Permitted(ctx, p.Authorizer, a.User, "sign", name) {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: certificatesv1.GroupName, Kind: "PodCertificateRequest"}, r.Name, field.ErrorList{
		field.Forbidden(field.NewPath("spec", "signerName"), fmt.Sprintf("User %q is not permitted to %q for signer %q", a.User.Name, "sign", name)),
	})
}
