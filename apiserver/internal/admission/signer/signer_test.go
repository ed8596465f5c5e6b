package signer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
	"xebec.dev/apiserver/internal/admission/certificateapproval"
	"xebec.dev/apiserver/internal/admission/certificatesigning"
	"xebec.dev/apiserver/internal/admission/certificatesubject"
	"xebec.dev/apiserver/internal/admission/signer"
	"xebec.dev/apiserver/internal/admission/trustbundleattest"
	"xebec.dev/apiserver/internal/request"
)

const name = "example.com/foo"

func TestPermitted(t *testing.T) {
	may := admissiontest.Authorizer{"one approve signers " + name: true, "domain approve signers example.com/*": true, "other approve signers example.org/*": true}
	for user, want := range map[string]bool{"one": true, "domain": true, "other": false, "none": false} {
		if got := signer.Permitted(t.Context(), may, &request.User{Name: user}, "approve", name); got != want {
			t.Errorf("%s: %v", user, got)
		}
	}
}

func csr(status certificatesv1.CertificateSigningRequestStatus) *certificatesv1.CertificateSigningRequest {
	return &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: name}, Status: status}
}

func TestApprovalAndSigning(t *testing.T) {
	w := admissiontest.New(t)
	type status = certificatesv1.CertificateSigningRequestStatus
	may := admissiontest.Authorizer{"approver approve signers " + name: true, "signer sign signers " + name: true}
	approval, signing := &certificateapproval.Plugin{Authorizer: may}, &certificatesigning.Plugin{Authorizer: may}
	for _, x := range []struct {
		user, sub      string
		now            status
		approve, issue string
	}{
		{"approver", "approval", status{}, "", ""},
		{"signer", "approval", status{}, `user not permitted to approve requests with signerName "example.com/foo"`, ""},
		{"approver", "status", status{Certificate: []byte("x")}, "", `user not permitted to sign requests with signerName "example.com/foo"`},
		{"approver", "status", status{Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateFailed}}}, "", `user not permitted to sign requests with signerName "example.com/foo"`},
		{"signer", "status", status{Certificate: []byte("x")}, "", ""},
		{"none", "status", status{}, "", ""},
		{"none", "", status{}, "", ""},
	} {
		r := w.Update(csr(x.now), csr(status{}), x.sub).As(x.user)
		admissiontest.Refused(t, admissiontest.Run(approval, r), x.approve)
		admissiontest.Refused(t, admissiontest.Run(signing, r), x.issue)
	}
}

func TestSubject(t *testing.T) {
	w := admissiontest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ signer, group, want string }{
		{certificatesv1.KubeAPIServerClientSignerName, "system:masters", "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"},
		{certificatesv1.KubeAPIServerClientSignerName, "devs", ""},
		{name, "system:masters", ""},
	} {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "u", Organization: []string{x.group}}}, key)
		if err != nil {
			t.Fatal(err)
		}
		r := csr(certificatesv1.CertificateSigningRequestStatus{})
		r.Spec.SignerName, r.Spec.Request = x.signer, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		admissiontest.Refused(t, admissiontest.Run(certificatesubject.Plugin{}, w.Create(r)), x.want)
	}
}

func TestAttest(t *testing.T) {
	w := admissiontest.New(t)
	p := &trustbundleattest.Plugin{Authorizer: admissiontest.Authorizer{"attester attest signers " + name: true}}
	for user, want := range map[string]string{"attester": "", "none": `user not permitted to attest for signerName "example.com/foo"`} {
		r := w.Create(&corev1.Node{}).As(user) // the resource is not in the table
		r.Object = &certificatesv1.ClusterTrustBundle{Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: name}}
		admissiontest.Refused(t, admissiontest.Run(p, r), want)
		r.Object = &certificatesv1.ClusterTrustBundle{}
		admissiontest.Refused(t, admissiontest.Run(p, r), "")
	}
}
