package controllers

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLegacyTokens: a token that was made by itself and is not used is declared
// invalid first, and deleted when nobody has missed it. What people made stays.
func TestLegacyTokens(t *testing.T) {
	c := newCluster(t)
	const at = "kube-system"
	account, err := c.CoreV1().ServiceAccounts(at).Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "robot"}, Secrets: []corev1.ObjectReference{{Name: "generated"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"generated", "by-hand"} {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			corev1.ServiceAccountNameKey: "robot", corev1.ServiceAccountUIDKey: string(account.UID),
		}}, Type: corev1.SecretTypeServiceAccountToken}
		if _, err := c.CoreV1().Secrets(at).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// A manager looks when it starts, and then once a day.
	args := []string{"--legacy-service-account-token-clean-up-period=1ms"}
	m := c.manage(args...)
	const label = "kubernetes.io/legacy-token-invalid-since"
	eventually(t, "the token is declared invalid", func() error {
		s, err := c.CoreV1().Secrets(at).Get(t.Context(), "generated", metav1.GetOptions{})
		if err == nil && s.Labels[label] == "" {
			err = fmt.Errorf("labels %v", s.Labels)
		}
		return err
	})
	m.kill()
	c.manage(args...)
	eventually(t, "the token is deleted", func() error {
		_, err := c.CoreV1().Secrets(at).Get(t.Context(), "generated", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %v", err)
	})
	s, err := c.CoreV1().Secrets(at).Get(t.Context(), "by-hand", metav1.GetOptions{})
	if err != nil || s.Labels[label] != "" {
		t.Errorf("the token that a person made: %v, error %v", s.Labels, err)
	}
}
