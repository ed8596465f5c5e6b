package bootstrap

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
)

// LegacyTokenTracking notes since when it is known on which days the tokens in
// Secrets are used: what was not used since may be taken away.
func (m *Maker) LegacyTokenTracking(ctx context.Context) error {
	today := time.Now().UTC().Format(time.DateOnly)
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "kube-apiserver-legacy-service-account-token-tracking"},
		Data:       map[string]string{"since": today},
	}
	return m.Ensure(ctx, "", "v1", "configmaps", cm, func(have scheme.Object) {
		h := have.(*corev1.ConfigMap)
		// A day that cannot be read, or is to come, would protect nothing or
		// everything.
		if d, err := time.Parse(time.DateOnly, h.Data["since"]); err != nil || d.After(time.Now()) {
			h.Data = map[string]string{"since": today}
		}
	})
}

// LegacyTokenUsed notes the day in a Secret whose token was used.
func (m *Maker) LegacyTokenUsed(ctx context.Context, namespace, secret string) error {
	return m.change(ctx, "", "v1", "secrets", namespace, secret, "", func(have scheme.Object) {
		labels := have.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[serviceaccount.LastUsed] = time.Now().UTC().Format(time.DateOnly)
		have.SetLabels(labels)
	})
}
