package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

var requestHooks = scheme.Hooks[certificatesv1.CertificateSigningRequest]{
	ValidateName: func(name string, prefix bool) []string { return path.ValidatePathSegmentName(name, prefix) },
	// A signer trusts what the spec says about the requester, so only the
	// server writes it.
	PrepareCreate: func(c scheme.Context, r *certificatesv1.CertificateSigningRequest) {
		r.Spec.Username, r.Spec.UID, r.Spec.Groups = c.User.Name, c.User.UID, c.User.Groups
		r.Spec.Extra = nil
		for k, v := range c.User.Extra {
			if r.Spec.Extra == nil {
				r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			}
			r.Spec.Extra[k] = v
		}
		r.Status = certificatesv1.CertificateSigningRequestStatus{}
	},
	PrepareUpdate: func(_ scheme.Context, r, old *certificatesv1.CertificateSigningRequest) {
		r.Spec, r.Status = old.Spec, old.Status
	},
	ValidateCreate: validateCreate,
	ValidateUpdate: validateUpdate(mayChange{}),
	ResetFields:    []string{"spec", "status"},
}

var requestApprovalHooks = scheme.UpdateHooks[certificatesv1.CertificateSigningRequest]{
	PrepareUpdate: func(c scheme.Context, r, old *certificatesv1.CertificateSigningRequest) {
		r.Spec = old.Spec
		r.Status.Certificate = old.Status.Certificate
		setTimes(r, old, c.Now)
	},
	ValidateUpdate: validateUpdate(mayChange{approval: true}),
	ResetFields:    []string{"spec", "status.certificate"},
}

var requestStatusHooks = scheme.UpdateHooks[certificatesv1.CertificateSigningRequest]{
	PrepareUpdate: func(c scheme.Context, r, old *certificatesv1.CertificateSigningRequest) {
		r.Spec = old.Spec
		keepConditions(r, old, certificatesv1.CertificateApproved)
		keepConditions(r, old, certificatesv1.CertificateDenied)
		setTimes(r, old, c.Now)
	},
	ValidateUpdate: validateUpdate(mayChange{certificate: true}),
	ResetFields:    []string{"spec", "status.conditions"},
}

// keepConditions restores the conditions of a type when as many are sent as
// there were; otherwise validation tells of the missing or added one.
func keepConditions(r, old *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) {
	before := conditionsOf(old, t)
	if len(before) != len(conditionsOf(r, t)) {
		return
	}
	for i := range r.Status.Conditions {
		if r.Status.Conditions[i].Type == t {
			r.Status.Conditions[i], before = before[0], before[1:]
		}
	}
}

func conditionsOf(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
	var found []certificatesv1.CertificateSigningRequestCondition
	for _, c := range r.Status.Conditions {
		if c.Type == t {
			found = append(found, c)
		}
	}
	return found
}

// setTimes fills in the times of conditions that come without.
func setTimes(r, old *certificatesv1.CertificateSigningRequest, now metav1.Time) {
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for _, o := range conditionsOf(old, c.Type) {
			if o.Status == c.Status && !o.LastTransitionTime.IsZero() {
				c.LastTransitionTime = o.LastTransitionTime
				break
			}
		}
	}
}

// isDecision is true of the types whose only status is True.
func isDecision(t certificatesv1.RequestConditionType) bool {
	return t == certificatesv1.CertificateApproved || t == certificatesv1.CertificateDenied || t == certificatesv1.CertificateFailed
}
