// Package bootstraptoken reads bootstrap tokens from the secrets that they are
// kept in.
package bootstraptoken

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
)

const (
	// SecretType is the type of the secrets.
	SecretType = "bootstrap.kubernetes.io/token"
	prefix     = "bootstrap-token-"
)

// Secrets follows the tokens of a cluster. The caller runs it.
func Secrets(e *control.Env) (*cache.Replica[*corev1.Secret], error) {
	return cache.New(e.Replicas.Client, e.Replicas.Stream, cache.Options[*corev1.Secret]{
		Selection: client.Selection{Namespace: metav1.NamespaceSystem, Fields: "type=" + SecretType}, Metrics: e.Replicas.Metrics, Log: e.Log,
	})
}

// Left says for how long a token is still good; bounded is false when it has
// no end. One whose end can't be read has ended.
func Left(s *corev1.Secret, now time.Time) (left time.Duration, bounded bool) {
	text := string(s.Data["expiration"])
	if text == "" {
		return 0, false
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, true
	}
	return max(end.Sub(now), 0), true
}

// Signing is the token with which the cluster's information may be signed; ok
// is false when it is not for that, has ended, or is not as it should be.
func Signing(s *corev1.Secret, now time.Time) (id, secret string, ok bool) {
	id, secret = string(s.Data["token-id"]), string(s.Data["token-secret"])
	if s.Name != prefix+id || secret == "" || string(s.Data["usage-bootstrap-signing"]) != "true" || s.DeletionTimestamp != nil {
		return "", "", false
	}
	left, bounded := Left(s, now)
	return id, secret, !bounded || left > 0
}
