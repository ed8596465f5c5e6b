package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"xebec.dev/client"
)

// answersKept is how long the API server's answers hold.
const answersKept = 10 * time.Second

// Access lets requests to the component's own endpoint pass: paths open to
// all, and users whom the API server allows.
type Access struct {
	// AlwaysAllow are paths open to all; a trailing * is a prefix.
	AlwaysAllow []string
	// ClientCA is the file of the authorities of client certificates.
	ClientCA string
	// Tokens reviews bearer tokens, Rules access; nil ones refuse.
	Tokens, Rules *client.Client

	mu sync.Mutex
	// guarded by mu
	pool      *x509.CertPool
	poolStamp string
	answers   map[string]answer
}

type answer struct {
	user    *user
	allowed bool
	until   time.Time
}

type user struct {
	name, uid string
	groups    []string
	extra     map[string][]string
}

var anonymous = &user{name: "system:anonymous", groups: []string{"system:unauthenticated"}}

// Wrap guards a handler.
func (a *Access) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.open(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		u, err := a.authenticate(r)
		if err != nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		allowed, err := a.authorize(r.Context(), u, strings.ToLower(r.Method), r.URL.Path)
		switch {
		case err != nil:
			http.Error(w, "Internal Server Error: access could not be reviewed", http.StatusInternalServerError)
		case !allowed:
			http.Error(w, fmt.Sprintf("forbidden: User %q cannot %s path %q", u.name, strings.ToLower(r.Method), r.URL.Path), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (a *Access) open(path string) bool {
	path = strings.TrimPrefix(path, "/")
	for _, p := range a.AlwaysAllow {
		p = strings.TrimPrefix(p, "/")
		prefix, many := strings.CutSuffix(p, "*")
		if path == p || many && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

var errUnauthorized = fmt.Errorf("credentials are not valid")

func (a *Access) authenticate(r *http.Request) (*user, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return a.certificate(r.TLS.PeerCertificates)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return anonymous, nil
	}
	if a.Tokens == nil {
		return nil, errUnauthorized
	}
	return a.token(r.Context(), token)
}

func (a *Access) certificate(chain []*x509.Certificate) (*user, error) {
	pool, err := a.authorities()
	if err != nil || pool == nil {
		return anonymous, err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, errUnauthorized
	}
	s := &chain[0].Subject
	return &user{name: s.CommonName, groups: append(slices.Clone(s.Organization), "system:authenticated")}, nil
}

func (a *Access) authorities() (*x509.CertPool, error) {
	if a.ClientCA == "" {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	stamp := fileStamp(a.ClientCA)
	if a.pool != nil && stamp == a.poolStamp {
		return a.pool, nil
	}
	raw, err := os.ReadFile(a.ClientCA)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(raw) {
		if a.pool != nil {
			return a.pool, nil // half-written: go on with the old ones
		}
		return nil, errUnauthorized
	}
	a.pool, a.poolStamp = pool, stamp
	return pool, nil
}

func (a *Access) token(ctx context.Context, token string) (*user, error) {
	kept, ok := a.kept("token " + token)
	if !ok {
		res, err := client.Create(ctx, a.Tokens, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}})
		if err != nil {
			return nil, err
		}
		if res.Status.Authenticated {
			kept.user = fromReview(&res.Status.User)
		}
		a.keep("token "+token, kept)
	}
	if kept.user == nil {
		return nil, errUnauthorized
	}
	return kept.user, nil
}

func fromReview(u *authenticationv1.UserInfo) *user {
	out := &user{name: u.Username, uid: u.UID, groups: u.Groups, extra: map[string][]string{}}
	for k, v := range u.Extra {
		out.extra[k] = v
	}
	if !slices.Contains(out.groups, "system:authenticated") {
		out.groups = append(slices.Clone(out.groups), "system:authenticated")
	}
	return out
}

func (a *Access) authorize(ctx context.Context, u *user, method, path string) (bool, error) {
	if slices.Contains(u.groups, "system:masters") {
		return true, nil
	}
	if a.Rules == nil {
		return false, nil
	}
	key := fmt.Sprintf("access %q %q %q %v %s %s", u.name, u.uid, u.groups, u.extra, method, path)
	if kept, ok := a.kept(key); ok {
		return kept.allowed, nil
	}
	spec := authorizationv1.SubjectAccessReviewSpec{
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: method},
		User:                  u.name, UID: u.uid, Groups: u.groups, Extra: map[string]authorizationv1.ExtraValue{},
	}
	for k, v := range u.extra {
		spec.Extra[k] = v
	}
	res, err := client.Create(ctx, a.Rules, &authorizationv1.SubjectAccessReview{Spec: spec})
	if err != nil {
		return false, err
	}
	a.keep(key, answer{allowed: res.Status.Allowed})
	return res.Status.Allowed, nil
}

// maxAnswers bounds the answers kept.
const maxAnswers = 1024

func (a *Access) kept(key string) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.answers[key]
	return k, ok && time.Now().Before(k.until)
}

func (a *Access) keep(key string, v answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers == nil || len(a.answers) >= maxAnswers {
		a.answers = map[string]answer{}
	}
	v.until = time.Now().Add(answersKept)
	a.answers[key] = v
}
