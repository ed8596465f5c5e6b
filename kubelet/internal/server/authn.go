package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"xebec.dev/client"
)

// user is who makes a request.
type user struct {
	name, uid string
	groups    []string
	extra     map[string][]string
}

const (
	authenticated   = "system:authenticated"
	unauthenticated = "system:unauthenticated"
	masters         = "system:masters"
)

var errUnauthorized = errors.New("credentials are missing or not valid")

// How long answers hold.
const (
	tokenTTL = 2 * time.Minute
	allowTTL = 5 * time.Minute
	denyTTL  = 30 * time.Second
	// maxAnswers bounds the answers kept, of each kind.
	maxAnswers = 4096
	// reviewTime bounds one question to the API server.
	reviewTime = 10 * time.Second
)

// answers keeps what the API server said for a while.
type answers[V any] struct {
	mu   sync.Mutex
	kept map[[32]byte]answer[V] // guarded by mu
}

type answer[V any] struct {
	value V
	until time.Time
}

// digest hides tokens: what is kept can't be read back.
func digest(parts ...any) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "%q", parts)) }

func (a *answers[V]) get(key [32]byte) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.kept[key]
	return k.value, ok && time.Now().Before(k.until)
}

func (a *answers[V]) put(key [32]byte, v V, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if len(a.kept) >= maxAnswers {
		for k, old := range a.kept {
			if now.After(old.until) {
				delete(a.kept, k)
			}
		}
	}
	if a.kept == nil || len(a.kept) >= maxAnswers {
		a.kept = map[[32]byte]answer[V]{} // a flood: start over
	}
	a.kept[key] = answer[V]{v, now.Add(ttl)}
}

// authenticator finds out who makes a request.
type authenticator struct {
	o      *Options
	tokens answers[*user] // nil: not valid

	mu    sync.Mutex
	pool  *x509.CertPool // guarded by mu
	stamp string         // guarded by mu: of the file that pool is from
}

func (a *authenticator) user(r *http.Request) (*user, error) {
	presented := r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.o.ClientCA != ""
	if presented {
		// A certificate that is not valid leaves the other ways, but that of
		// those who say nothing of themselves.
		if u, err := a.certificate(r.TLS.PeerCertificates); err == nil || !errors.Is(err, errUnauthorized) {
			return u, err
		}
	}
	if kind, token, ok := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " "); ok && strings.EqualFold(kind, "bearer") {
		return a.token(r.Context(), strings.TrimSpace(token))
	}
	if a.o.Anonymous && !presented {
		return &user{name: "system:anonymous", groups: []string{unauthenticated}}, nil
	}
	return nil, errUnauthorized
}

func (a *authenticator) certificate(chain []*x509.Certificate) (*user, error) {
	pool, err := a.authorities()
	if err != nil {
		return nil, err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, errUnauthorized
	}
	s := &chain[0].Subject
	if s.CommonName == "" {
		return nil, errUnauthorized
	}
	return &user{name: s.CommonName, groups: append(slices.Clone(s.Organization), authenticated)}, nil
}

// authorities reads the file again when it has changed.
func (a *authenticator) authorities() (*x509.CertPool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stamp := ""
	if info, err := os.Stat(a.o.ClientCA); err == nil {
		stamp = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	}
	if a.pool != nil && stamp == a.stamp {
		return a.pool, nil
	}
	raw, err := os.ReadFile(a.o.ClientCA)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(raw) {
		if a.pool != nil {
			return a.pool, nil // half-written: go on with the old ones
		}
		return nil, fmt.Errorf("client authorities in %s: no certificate can be read", a.o.ClientCA)
	}
	a.pool, a.stamp = pool, stamp
	return pool, nil
}

func (a *authenticator) token(ctx context.Context, token string) (*user, error) {
	if token == "" || !a.o.Tokens || a.o.API == nil {
		return nil, errUnauthorized
	}
	key := digest(token)
	u, ok := a.tokens.get(key)
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, reviewTime)
		defer cancel()
		res, err := client.Create(ctx, a.o.API, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}})
		if err != nil {
			return nil, fmt.Errorf("review token: %w", err)
		}
		if res.Status.Authenticated {
			u = reviewed(&res.Status.User)
		}
		a.tokens.put(key, u, or(a.o.TokenTTL, tokenTTL))
	}
	if u == nil {
		return nil, errUnauthorized
	}
	return u, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func reviewed(i *authenticationv1.UserInfo) *user {
	u := &user{name: i.Username, uid: i.UID, groups: slices.Clone(i.Groups), extra: map[string][]string{}}
	for k, v := range i.Extra {
		u.extra[k] = v
	}
	if !slices.Contains(u.groups, authenticated) {
		u.groups = append(u.groups, authenticated)
	}
	return u
}
