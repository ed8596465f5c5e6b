package kubelet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// withCertificate is a pod that shows the certificate of a signer.
func withCertificate(name, signer string) *corev1.Pod {
	p := pod(name, "cat", "/c/bundle.pem")
	p.Spec.ServiceAccountName = "default"
	p.Spec.Volumes = []corev1.Volume{{Name: "c", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{PodCertificate: &corev1.PodCertificateProjection{SignerName: signer, KeyType: "ECDSAP256", CredentialBundlePath: "bundle.pem"}},
	}}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "c", MountPath: "/c"}}
	return p
}

// request waits for the kubelet's, to a signer.
func request(t *testing.T, signer string) *certificatesv1.PodCertificateRequest {
	t.Helper()
	var out *certificatesv1.PodCertificateRequest
	until(t, "a request to "+signer, func() error {
		list, err := node.Client.CertificatesV1().PodCertificateRequests("default").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.signerName=" + signer})
		if err != nil || len(list.Items) == 0 {
			return fmt.Errorf("none yet: %v", err)
		}
		out = &list.Items[0]
		return nil
	})
	return out
}

// A pod gets a key of its own with the certificate that a signer gives it.
func TestPodCertificate(t *testing.T) {
	t.Parallel()
	const signer, refuser = "test.xebec.dev/pods", "test.xebec.dev/nobody"
	create(t, withCertificate("certified", signer))
	create(t, withCertificate("uncertified", refuser))
	r := request(t, signer)
	q, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil || q.CheckSignature() != nil || r.Spec.PodName != "certified" || string(r.Spec.NodeName) != node.Name {
		t.Fatalf("%v %+v", err, r.Spec)
	}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second).UTC()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "certified"}, NotBefore: now, NotAfter: now.Add(2 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, q.PublicKey, ca)
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) *metav1.Time { v := metav1.NewTime(now.Add(d)); return &v }
	r.Status = certificatesv1.PodCertificateRequestStatus{
		Conditions:       []metav1.Condition{{Type: "Issued", Status: metav1.ConditionTrue, Reason: "Issued", Message: "here", LastTransitionTime: *at(0)}},
		CertificateChain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		NotBefore:        at(0), BeginRefreshAt: at(time.Hour), NotAfter: at(2 * time.Hour),
	}
	if _, err := node.Client.CertificatesV1().PodCertificateRequests("default").UpdateStatus(t.Context(), r, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait(t, "certified", "over", phase(corev1.PodSucceeded))
	bundle := []byte(logs(t, "certified", "main"))
	if !strings.HasPrefix(string(bundle), "-----BEGIN PRIVATE KEY-----") {
		t.Errorf("%.60s", bundle)
	}
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil || pair.Leaf.Subject.CommonName != "certified" {
		t.Error("the key is not the certificate's", err)
	}

	no := request(t, refuser)
	no.Status.Conditions = []metav1.Condition{{Type: "Denied", Status: metav1.ConditionTrue, Reason: "NotHere", Message: "nobody gets one", LastTransitionTime: *at(0)}}
	if _, err := node.Client.CertificatesV1().PodCertificateRequests("default").UpdateStatus(t.Context(), no, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	told(t, "uncertified", "Denied: NotHere: nobody gets one")
}
