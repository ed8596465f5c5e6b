// Package csrapproving approves the client certificates of kubelets: of those
// who may ask for any node's, and of nodes for themselves.
package csrapproving

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"

	"xebec.dev/controller-manager/internal/csr"
)

// way is one in which a request may be approved: its author is permitted to.
type way struct{ subresource, message string }

func (w way) String() string { return w.subresource }

var (
	self = way{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."}
	node = way{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}
)

// plan gives the ways to be tried for a request: none for what is decided
// already, or is no kubelet's client certificate.
func plan(r *certificatesv1.CertificateSigningRequest) []way {
	if len(r.Status.Certificate) > 0 || csr.Condition(r, certificatesv1.CertificateApproved) != nil || csr.Condition(r, certificatesv1.CertificateDenied) != nil {
		return nil
	}
	if r.Spec.SignerName != csr.KubeletClient {
		return nil
	}
	x, err := csr.Parse(r.Spec.Request)
	if err != nil || csr.Permits(r.Spec.SignerName, x, r.Spec.Usages) != nil {
		return nil
	}
	if r.Spec.Username == x.Subject.CommonName {
		return []way{self, node}
	}
	return []way{node}
}

// review asks whether the author of a request may.
func (w way) review(r *certificatesv1.CertificateSigningRequest) *authorizationv1.SubjectAccessReview {
	extra := make(map[string]authorizationv1.ExtraValue, len(r.Spec.Extra))
	for k, v := range r.Spec.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	return &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: certificatesv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Verb: "create", Subresource: w.subresource,
		},
	}}
}
