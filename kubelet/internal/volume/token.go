package volume

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// When tokens are replaced.
const (
	// renewShare of a token's life may pass.
	renewShare = 0.8
	// renewAge is the greatest age.
	renewAge = 24 * time.Hour
	// renewJitter spreads the renewals.
	renewJitter = 10 * time.Second
	// renewPause lies between tries to replace a token that is still valid.
	renewPause = 30 * time.Second
)

// tokenKey says what a token is for.
type tokenKey struct {
	pod                         types.UID
	podName, namespace, account string
	audience                    string
	seconds                     int64
}

type keptToken struct {
	text           string
	renew, expires time.Time
}

// tokens keeps the pods' tokens until it is time for new ones.
type tokens struct {
	request func(ctx context.Context, k tokenKey) (text string, expires time.Time, err error)

	mu   sync.Mutex
	kept map[tokenKey]keptToken // guarded by mu
}

func newTokens(request func(context.Context, tokenKey) (string, time.Time, error)) *tokens {
	return &tokens{request: request, kept: map[tokenKey]keptToken{}}
}

// get gives a token that is good for a while.
func (t *tokens) get(ctx context.Context, k tokenKey) (string, error) {
	t.mu.Lock()
	have, ok := t.kept[k]
	t.mu.Unlock()
	now := time.Now()
	if ok && now.Before(have.renew) {
		return have.text, nil
	}
	text, expires, err := t.request(ctx, k)
	if err != nil {
		if !ok || !now.Before(have.expires) {
			return "", err
		}
		have.renew = now.Add(renewPause)
		t.keep(k, have)
		return have.text, nil
	}
	t.keep(k, keptToken{text: text, renew: renewAt(now, expires, rand.N(renewJitter)), expires: expires})
	return text, nil
}

// renewAt is when a token that begins now is replaced.
func renewAt(now, expires time.Time, jitter time.Duration) time.Time {
	age := min(time.Duration(float64(expires.Sub(now))*renewShare), renewAge)
	return now.Add(age - min(jitter, age/10))
}

func (t *tokens) keep(k tokenKey, v keptToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept[k] = v
}

// next is when a token of the pod wants to be replaced; zero is never.
func (t *tokens) next(pod types.UID) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first time.Time
	for k, v := range t.kept {
		if k.pod == pod && (first.IsZero() || v.renew.Before(first)) {
			first = v.renew
		}
	}
	return first
}

func (t *tokens) forget(pod types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.kept {
		if k.pod == pod {
			delete(t.kept, k)
		}
	}
}

// requestToken asks the API server for a token bound to the pod.
func (m *Manager) requestToken(ctx context.Context, k tokenKey) (string, time.Time, error) {
	if m.o.API == nil {
		return "", time.Time{}, errors.New("this kubelet has no API server to ask for tokens")
	}
	body := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &k.seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: k.podName, UID: k.pod},
	}}
	body.ObjectMeta = metav1.ObjectMeta{Namespace: k.namespace}
	if k.audience != "" {
		body.Spec.Audiences = []string{k.audience}
	}
	res, err := client.CreateSubresource[*corev1.ServiceAccount](ctx, m.o.API, k.namespace, k.account, "token", body)
	if err != nil {
		return "", time.Time{}, err
	}
	if res.Status.Token == "" {
		return "", time.Time{}, errors.New("the API server answered without a token")
	}
	return res.Status.Token, res.Status.ExpirationTimestamp.Time, nil
}
