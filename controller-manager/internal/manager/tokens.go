package manager

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

const (
	tokenSeconds = 3600
	// renewAfter is the part of a token's life after which it is renewed.
	renewAfter = 0.8
)

// tokens gets tokens of a service account in kube-system, which it makes when
// it is not there.
type tokens struct {
	client  *client.Client
	account string

	mu sync.Mutex
	// guarded by mu
	token string
	renew time.Time
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.renew) {
		return t.token, nil
	}
	seconds := int64(tokenSeconds)
	ask := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	got, err := client.CreateSubresource[*corev1.ServiceAccount](ctx, t.client, metav1.NamespaceSystem, t.account, "token", ask)
	if apierrors.IsNotFound(err) {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: t.account}}
		if _, err := client.Create(ctx, t.client, account); err != nil && !apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("create service account kube-system/%s: %w", t.account, err)
		}
		got, err = client.CreateSubresource[*corev1.ServiceAccount](ctx, t.client, metav1.NamespaceSystem, t.account, "token", ask)
	}
	if err != nil {
		return "", fmt.Errorf("token of service account kube-system/%s: %w", t.account, err)
	}
	t.token = got.Status.Token
	t.renew = now.Add(time.Duration(float64(got.Status.ExpirationTimestamp.Sub(now)) * renewAfter))
	return t.token, nil
}
