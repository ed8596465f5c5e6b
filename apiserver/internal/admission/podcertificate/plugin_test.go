package podcertificate

import (
	"testing"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestStatus(t *testing.T) {
	w := admissiontest.New(t)
	p := &Plugin{admissiontest.Authorizer{"signer sign signers example.com/s": true, "domain sign signers example.com/*": true, "other sign signers example.com/t": true}}
	request := func(denied bool) *certificatesv1beta1.PodCertificateRequest {
		r := &certificatesv1beta1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "r"}}
		r.Spec.SignerName = "example.com/s"
		if denied {
			r.Status.Conditions = []metav1.Condition{{Type: certificatesv1beta1.PodCertificateRequestConditionTypeDenied, Status: metav1.ConditionTrue}}
		}
		return r
	}
	const no = `is invalid: spec.signerName: Forbidden: User "other" is not permitted to "sign" for signer "example.com/s"`
	for _, x := range []struct {
		user, sub string
		changes   bool
		want      string
	}{
		{"signer", "status", true, ""},
		{"domain", "status", true, ""},
		{"other", "status", true, no},
		{"other", "status", false, ""},
		{"other", "", true, ""}, // keeps the status
	} {
		admissiontest.Refused(t, admissiontest.Run(p, w.Update(request(x.changes), request(false), x.sub).As(x.user)), x.want)
	}
}
