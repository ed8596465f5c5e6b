package volume

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// hand is a signer that answers when it is told to.
type hand struct {
	asked   []*certificatesv1beta1.PodCertificateRequest
	answers map[string]*certificatesv1beta1.PodCertificateRequestStatus
	looks   int
}

func (h *hand) ask(_ context.Context, r *certificatesv1beta1.PodCertificateRequest) (string, error) {
	h.asked = append(h.asked, r)
	return fmt.Sprintf("req-%d", len(h.asked)), nil
}

func (h *hand) answer(_ context.Context, _, name string) (*certificatesv1beta1.PodCertificateRequestStatus, error) {
	h.looks++
	if a, ok := h.answers[name]; ok {
		if a == nil {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "podcertificaterequests"}, name)
		}
		return a, nil
	}
	return &certificatesv1beta1.PodCertificateRequestStatus{}, nil
}

func (h *hand) account(context.Context, string, string) (types.UID, error) { return "account", nil }

func issued(chain string, refresh, end time.Duration) *certificatesv1beta1.PodCertificateRequestStatus {
	r, e := metav1.NewTime(time.Now().Add(refresh)), metav1.NewTime(time.Now().Add(end))
	return &certificatesv1beta1.PodCertificateRequestStatus{Conditions: []metav1.Condition{{Type: "Issued", Status: metav1.ConditionTrue}}, CertificateChain: chain, BeginRefreshAt: &r, NotAfter: &e}
}

func block(text string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)}))
}

// A certificate's life: asked for, waited for, kept, renewed in time; what is
// good stays while nobody answers.
func TestPodCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{answers: map[string]*certificatesv1beta1.PodCertificateRequestStatus{}}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node"}}
		c := newCertificates(h, func() *corev1.Node { return node })
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: corev1.PodSpec{ServiceAccountName: "sa"}}
		s := &corev1.PodCertificateProjection{SignerName: "example.com/s", KeyType: "ED25519", UserAnnotations: map[string]string{"example.com/a": "b"}}
		k := certKey{pod: "u", volume: "v"}
		get := func() (*podCert, error) { return c.get(t.Context(), k, pod, s) }

		if _, err := get(); err == nil || !strings.Contains(err.Error(), `req-1 has not been answered by signer "example.com/s" yet`) {
			t.Fatal(err)
		}
		r := h.asked[0]
		q, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
		if err != nil || q.CheckSignature() != nil || q.Subject.String() != "" {
			t.Error(err, q)
		}
		if r.Spec.NodeUID != "node" || r.Spec.ServiceAccountUID != "account" || r.Spec.PodUID != "u" || r.Spec.UnverifiedUserAnnotations["example.com/a"] != "b" || r.OwnerReferences[0].UID != "u" {
			t.Errorf("%+v", r)
		}
		h.answers["req-1"] = issued("x\n"+block("one")+"y\n"+block("two"), time.Hour, 2*time.Hour)
		e, err := get()
		if err != nil || string(e.chain) != block("one")+block("two") {
			t.Fatal(err, string(e.chain))
		}
		b, _ := pem.Decode(e.key)
		if key, err := x509.ParsePKCS8PrivateKey(b.Bytes); err != nil || b.Type != "PRIVATE KEY" {
			t.Error(err, key)
		}
		if d := c.next("u"); !d.Equal(time.Now().Add(time.Hour)) || !c.next("other").IsZero() {
			t.Error(d)
		}
		first := string(e.key)
		time.Sleep(time.Hour)
		began := time.Now()
		if e, err = get(); err != nil || string(e.key) != first || len(h.asked) != 2 || time.Since(began) != 0 {
			t.Fatal("a renewal made the pod wait, or was not begun", err, len(h.asked))
		}
		h.answers["req-2"] = &certificatesv1beta1.PodCertificateRequestStatus{Conditions: []metav1.Condition{{Type: "Denied", Status: metav1.ConditionTrue, Reason: "Tired", Message: "come back"}}}
		if e, err = get(); err != nil || string(e.key) != first {
			t.Fatal("what was good went with a denial", err)
		}
		if _, err = get(); err != nil || len(h.asked) != 2 {
			t.Error("a signer that denied is asked all the time", err, len(h.asked))
		}
		time.Sleep(askPause)
		h.answers["req-3"] = issued(block("three"), time.Hour, 2*time.Hour)
		if e, err = get(); err != nil || string(e.chain) != block("three") || string(e.key) == first {
			t.Fatal("it was not renewed", err, string(e.chain))
		}
		// It runs out while every request is lost.
		time.Sleep(3 * time.Hour)
		h.answers["req-4"] = nil
		if _, err = get(); err == nil || !strings.Contains(err.Error(), "req-4 was deleted before it was answered") {
			t.Error(err)
		}
		c.forget("u")
		if len(c.kept) != 0 {
			t.Error(c.kept)
		}
	})
}

func TestKeyTypes(t *testing.T) {
	for _, kind := range []string{"ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072"} {
		if _, err := newKey(kind); err != nil {
			t.Error(kind, err)
		}
	}
	if _, err := newKey("DSA"); err == nil {
		t.Error("DSA")
	}
}
