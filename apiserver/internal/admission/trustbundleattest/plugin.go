// Package trustbundleattest lets only those write a signer's trust bundles who
// may attest for the signer.
package trustbundleattest

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/signer"
	"xebec.dev/apiserver/internal/authz"
)

// Plugin implements ClusterTrustBundleAttest.
type Plugin struct{ Authorizer authz.Authorizer }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "ClusterTrustBundleAttest" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Subresource != "" {
		return nil
	}
	name := signerOf(a.Object)
	if name == "" || signer.Permitted(ctx, p.Authorizer, a.User, "attest", name) {
		return nil
	}
	return a.Forbid(fmt.Errorf("user not permitted to attest for signerName %q", name))
}

// signerOf is the bundle's signer; a bundle cannot change it. "" is a bundle of
// no signer, or no bundle.
func signerOf(o runtime.Object) string {
	switch b := o.(type) {
	case *certificatesv1.ClusterTrustBundle:
		return b.Spec.SignerName
	case *certificatesv1beta1.ClusterTrustBundle:
		return b.Spec.SignerName
	}
	return ""
}
