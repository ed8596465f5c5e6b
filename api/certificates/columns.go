package certificates

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"xebec.dev/api/table"
)

func requestColumns() []metav1.TableColumnDefinition {
	// Kubernetes describes these columns by the words of v1beta1, and the
	// requestor by those of the request.
	spec := certificatesv1beta1.CertificateSigningRequestSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Age(),
		table.Field("SignerName", spec, "signerName"),
		table.Field("Requestor", spec, "request"),
		table.Field("RequestedDuration", spec, "expirationSeconds"),
		table.Field("Condition", certificatesv1beta1.CertificateSigningRequestStatus{}, "conditions"),
	}
}

func requestRow(r *certificatesv1.CertificateSigningRequest, now metav1.Time) []any {
	signer := r.Spec.SignerName
	if signer == "" {
		signer = "<none>"
	}
	requested := "<none>"
	if e := r.Spec.ExpirationSeconds; e != nil {
		requested = duration.HumanDuration(time.Duration(*e) * time.Second)
	}
	return []any{r.Name, table.Since(r.CreationTimestamp, now), signer, r.Spec.Username, requested, conditionText(r)}
}

func conditionText(r *certificatesv1.CertificateSigningRequest) string {
	text := "Pending"
	if len(conditionsOf(r, certificatesv1.CertificateDenied)) > 0 {
		text = "Denied"
	} else if len(conditionsOf(r, certificatesv1.CertificateApproved)) > 0 {
		text = "Approved"
	}
	if len(conditionsOf(r, certificatesv1.CertificateFailed)) > 0 {
		text += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		text += ",Issued"
	}
	return text
}
