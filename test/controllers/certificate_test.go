package controllers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// as is a client of somebody else.
func (c *cluster) as(t testing.TB, user string, groups ...string) *kubernetes.Clientset {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	return kubernetes.NewForConfigOrDie(cfg)
}

// asks makes a signing request.
func asks(t testing.TB, by *kubernetes.Clientset, signer string, subject pkix.Name, dns []string, seconds *int32, usages ...certificatesv1.KeyUsage) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: dns}, key)
	if err != nil {
		t.Fatal(err)
	}
	asked := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Usages: usages, ExpirationSeconds: seconds,
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}
	var r *certificatesv1.CertificateSigningRequest
	// The server may hear a moment later of the binding that gives the right.
	eventually(t, "a signing request", func() error {
		r, err = by.CertificatesV1().CertificateSigningRequests().Create(t.Context(), asked, metav1.CreateOptions{})
		return err
	})
	return r.Name
}

func (c *cluster) request(t testing.TB, name, what string, ok func(r *certificatesv1.CertificateSigningRequest) bool) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	var last *certificatesv1.CertificateSigningRequest
	eventually(t, what, func() error {
		r, err := c.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !ok(r) {
			err = fmt.Errorf("conditions %+v, %d bytes of a certificate", r.Status.Conditions, len(r.Status.Certificate))
		}
		last = r
		return err
	})
	return last
}

// issued waits for a certificate and verifies it.
func (c *cluster) issued(t testing.TB, name string, purpose x509.ExtKeyUsage) *x509.Certificate {
	t.Helper()
	r := c.request(t, name, "a certificate", func(r *certificatesv1.CertificateSigningRequest) bool { return len(r.Status.Certificate) > 0 })
	block, _ := pem.Decode(r.Status.Certificate)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(c.server.Dir, "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{purpose}}); err != nil {
		t.Error(err)
	}
	return cert
}

var kubeletUsages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}

func certificates(t *testing.T, c *cluster) {
	for role, subject := range map[string]rbacv1.Subject{
		"system:certificates.k8s.io:certificatesigningrequests:nodeclient":     {Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:bootstrappers"},
		"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": {Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:nodes"},
		"system:node-bootstrapper": {Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:bootstrappers"},
	} {
		_, err := c.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: []rbacv1.Subject{subject},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	subject := pkix.Name{CommonName: "system:node:csr", Organization: []string{"system:nodes"}}
	approved := func(name, message string) {
		t.Helper()
		r := c.request(t, name, "approval", func(r *certificatesv1.CertificateSigningRequest) bool { return len(r.Status.Conditions) > 0 })
		if a := r.Status.Conditions[0]; a.Type != certificatesv1.CertificateApproved || a.Reason != "AutoApproved" || a.Message != message {
			t.Errorf("condition %+v", a)
		}
	}
	// A node that joins, with a token.
	hour := int32(3600)
	joins := asks(t, c.as(t, "system:bootstrap:abcdef", "system:bootstrappers"), certificatesv1.KubeAPIServerClientKubeletSignerName, subject, nil, &hour, kubeletUsages...)
	approved(joins, "Auto approving kubelet client certificate after SubjectAccessReview.")
	if cert := c.issued(t, joins, x509.ExtKeyUsageClientAuth); time.Until(cert.NotAfter) > 61*time.Minute || cert.Subject.CommonName != subject.CommonName {
		t.Errorf("certificate of %s until %s", cert.Subject, cert.NotAfter)
	}
	// It renews its own.
	asNode := c.as(t, "system:node:csr", "system:nodes")
	renews := asks(t, asNode, certificatesv1.KubeAPIServerClientKubeletSignerName, subject, nil, nil, kubeletUsages...)
	approved(renews, "Auto approving self kubelet client certificate after SubjectAccessReview.")
	c.issued(t, renews, x509.ExtKeyUsageClientAuth)
	// Its server's is a person's to approve.
	serving := asks(t, asNode, certificatesv1.KubeletServingSignerName, subject, []string{"csr"}, nil, certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth)
	// Nobody approves what somebody without rights asks for.
	stranger := asks(t, c.Clientset, certificatesv1.KubeAPIServerClientKubeletSignerName, pkix.Name{CommonName: "jane", Organization: []string{"system:nodes"}}, nil, nil, kubeletUsages...)
	always(t, "not approved", 300*time.Millisecond, func() error {
		for _, name := range []string{serving, stranger} {
			r, err := c.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || len(r.Status.Conditions) > 0 {
				return fmt.Errorf("request %s: %v, error %w", name, r.Status, err)
			}
		}
		return nil
	})
	c.kubectl(t, "", "", "certificate", "approve", serving)
	c.issued(t, serving, x509.ExtKeyUsageServerAuth)
	// What a signer does not permit fails when it is approved.
	c.kubectl(t, "", "", "certificate", "approve", stranger)
	r := c.request(t, stranger, "failure", func(r *certificatesv1.CertificateSigningRequest) bool {
		for _, x := range r.Status.Conditions {
			if x.Type == certificatesv1.CertificateFailed && x.Status == corev1.ConditionTrue && x.Reason == "SignerValidationFailure" {
				return true
			}
		}
		return false
	})
	if len(r.Status.Certificate) > 0 {
		t.Error(errors.New("a refused request has a certificate"))
	}
}
