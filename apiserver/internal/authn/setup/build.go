package setup

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/cert"
	"xebec.dev/apiserver/internal/authn/frontproxy"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
	"xebec.dev/apiserver/internal/authn/token"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// successTTL is how long a good token is not looked at again. Revocation is
// that late.
const successTTL = 10 * time.Second

// Deps are what authenticators read and whom they tell.
type Deps struct {
	Reader storage.Reader
	Scheme *scheme.Scheme
	// Fresh reads service accounts, pods, nodes and secrets past the cache.
	Fresh serviceaccount.Getter
	// ExternalHost is this server's host and port in the discovery document.
	ExternalHost string
	// AlwaysAllow is true when the authorizer allows everything: then nobody
	// is let in anonymously unless that was asked for.
	AlwaysAllow bool
	// OnError is told of trouble with files that are read again.
	OnError func(error)
	// Egress leads to webhooks and issuers; nil is directly.
	Egress *egress.Selector
	// TokenUsed, when set, is told of Secrets whose token is used for the first
	// time of the day.
	TokenUsed func(namespace, secret string)
	// Metrics, when set, takes the metrics.
	Metrics prometheus.Registerer
}

// Result is authentication, and what else comes of its options.
type Result struct {
	authn.Authenticator
	// Tokens authenticates bearer tokens alone, for TokenReviews.
	Tokens authn.TokenAuthenticator
	// Audiences are the API server's own.
	Audiences []string
	// Requests issues service account tokens; nil without a signing key.
	Requests *serviceaccount.Requests
	// Discovery is nil when the issuer is not a URL that can be discovered.
	Discovery *serviceaccount.Discovery
	// Headers are the front proxy's, to be kept from other servers.
	Headers frontproxy.Headers
}

// Build makes the authenticators.
func Build(o *Options, d Deps) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if d.OnError == nil {
		d.OnError = func(error) {}
	}
	r := &Result{Audiences: o.APIAudiences}
	if len(r.Audiences) == 0 {
		r.Audiences = o.ServiceAccount.Issuers
	}
	b := &builder{o: o, Deps: d, r: r}
	tokens, err := b.tokens()
	if err != nil {
		return nil, err
	}
	r.Tokens = token.NewCache(tokens, successTTL, 0).Measure(d.Metrics)
	union, err := b.certificates()
	if err != nil {
		return nil, err
	}
	chain := &authn.Chain{Credentials: append(union, token.Bearer{Tokens: r.Tokens}), Anonymous: b.anonymous()}
	r.Authenticator = authn.Measure(chain, d.Metrics)
	return r, nil
}

type builder struct {
	Deps
	o *Options
	r *Result
	// config is the authentication configuration file, if there is one.
	config *reload.File[*issuers]
}

func (b *builder) certificates() (authn.Union, error) {
	var out authn.Union
	if p := &b.o.FrontProxy; p.ClientCAFile != "" {
		roots, err := b.pool(p.ClientCAFile)
		if err != nil {
			return nil, err
		}
		b.r.Headers = frontproxy.Headers{Username: p.Username, UID: p.UID, Group: p.Group, Extra: p.ExtraPrefixes}
		out = append(out, frontproxy.New(roots, p.AllowedNames, b.r.Headers))
	}
	if b.o.ClientCAFile != "" {
		roots, err := b.pool(b.o.ClientCAFile)
		if err != nil {
			return nil, err
		}
		out = append(out, cert.New(roots))
	}
	return out, nil
}

func (b *builder) pool(path string) (*reload.File[*x509.CertPool], error) {
	return reload.Open(path, func(content []byte) (*x509.CertPool, error) {
		pool, err := cert.ParsePool(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return pool, nil
	}, b.OnError)
}

func (b *builder) tokens() (authn.TokenUnion, error) {
	var out authn.TokenUnion
	if path := b.o.TokenFile; path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := token.ParseFile(path, content)
		if err != nil {
			return nil, err
		}
		out = append(out, token.Agnostic{Own: b.r.Audiences, Tokens: f})
	}
	accounts, err := b.serviceAccounts()
	if err != nil {
		return nil, err
	}
	out = append(out, accounts...)
	if b.o.Bootstrap {
		out = append(out, token.Agnostic{Own: b.r.Audiences, Tokens: token.NewBootstrap(b.Reader, b.Scheme)})
	}
	outside, err := b.outside()
	if err != nil {
		return nil, err
	}
	return append(out, outside...), nil
}

func (b *builder) serviceAccounts() (authn.TokenUnion, error) {
	s := &b.o.ServiceAccount
	var keys []serviceaccount.PublicKey
	for _, path := range s.KeyFiles {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		more, err := serviceaccount.ParsePublicKeys(content)
		if err != nil {
			return nil, fmt.Errorf("--service-account-key-file %s: %w", path, err)
		}
		keys = append(keys, more...)
	}
	deps := serviceaccount.Deps{Reader: b.Reader, Fresh: b.Fresh, Scheme: b.Scheme}
	verify := serviceaccount.Static(keys...)
	if s.SigningKeyFile != "" || s.Endpoint != "" {
		issuer, most, err := b.issuer()
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 {
			verify = issuer.Keys
		}
		b.r.Requests = &serviceaccount.Requests{
			Issuer: issuer, Own: b.r.Audiences, MaxSeconds: int64(s.MaxExpiration / time.Second), Extend: s.Extend, Deps: deps,
			Warn: request.Warn, Issued: noteIssued, MaxExtended: most,
		}
		if b.r.Requests.MaxSeconds == 0 {
			b.r.Requests.MaxSeconds = most
		}
	} else if len(keys) == 0 {
		return nil, nil
	}
	if len(s.Issuers) > 0 {
		discovery, err := serviceaccount.NewDiscovery(s.Issuers[0], s.KeysURI, b.ExternalHost, verify)
		if err != nil {
			b.OnError(fmt.Errorf("service account issuer discovery is off: %w", err))
		}
		b.r.Discovery = discovery
	}
	legacy := serviceaccount.NewLegacyVerifier(verify, b.r.Audiences, s.Lookup, deps)
	legacy.Used = b.legacyUsed()
	out := authn.TokenUnion{legacy}
	if len(s.Issuers) > 0 {
		bound := serviceaccount.NewVerifier(s.Issuers, verify, b.r.Audiences, s.Lookup, deps)
		valid := b.counter("serviceaccount_valid_tokens_total", "Uses of tokens that are not to be renewed yet.")
		stale := b.counter("serviceaccount_stale_tokens_total", "Uses of tokens that should have been renewed.")
		bound.Used = func(late bool) {
			if late {
				stale()
			} else {
				valid()
			}
		}
		out = append(out, bound)
	}
	return out, nil
}

// legacyUsed counts uses of tokens that are kept in Secrets, and has the day
// noted.
func (b *builder) legacyUsed() func(s *corev1.Secret, generated, valid bool) {
	all := b.counter("serviceaccount_legacy_tokens_total", "Uses of tokens kept in Secrets.")
	auto := b.counter("serviceaccount_legacy_auto_token_uses_total", "Uses of tokens in Secrets that were made with their service account.")
	manual := b.counter("serviceaccount_legacy_manual_token_uses_total", "Uses of tokens in Secrets that a user made.")
	invalid := b.counter("serviceaccount_invalid_legacy_auto_token_uses_total", "Uses of tokens in Secrets that were not used for long and are invalid now.")
	return func(s *corev1.Secret, generated, valid bool) {
		switch {
		case !valid:
			invalid()
		case generated:
			auto()
		default:
			manual()
		}
		if valid {
			all()
		}
		if b.TokenUsed != nil && s.Labels[serviceaccount.LastUsed] != time.Now().UTC().Format(time.DateOnly) {
			b.TokenUsed(s.Namespace, s.Name)
		}
	}
}

// counter registers a counter and gives what counts.
func (b *builder) counter(name, help string) func() {
	if b.Metrics == nil {
		return func() {}
	}
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	b.Metrics.MustRegister(c)
	return c.Inc
}

// signerTime is how long the start waits for a signer outside.
const signerTime = time.Minute

// issuer signs tokens; most is the longest life that it gives them in seconds,
// 0 when that is for the flags to say.
func (b *builder) issuer() (_ *serviceaccount.Issuer, most int64, err error) {
	s := &b.o.ServiceAccount
	if len(s.Issuers) == 0 || s.Issuers[0] == "" {
		return nil, 0, errors.New("service-account-issuer is a required flag with --service-account-signing-key-file and --service-account-signing-endpoint")
	}
	if s.Endpoint != "" {
		return b.external()
	}
	content, err := os.ReadFile(s.SigningKeyFile)
	if err != nil {
		return nil, 0, err
	}
	private, err := serviceaccount.ParsePrivateKey(content)
	if err != nil {
		return nil, 0, fmt.Errorf("--service-account-signing-key-file %s: %w", s.SigningKeyFile, err)
	}
	issuer, err := serviceaccount.NewIssuer(s.Issuers[0], private)
	return issuer, 0, err
}

func (b *builder) external() (*serviceaccount.Issuer, int64, error) {
	s := &b.o.ServiceAccount
	x, err := serviceaccount.NewExternal(s.Endpoint, b.Metrics)
	if err != nil {
		return nil, 0, fmt.Errorf("--service-account-signing-endpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), signerTime)
	defer cancel()
	most, err := x.Start(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("--service-account-signing-endpoint %s: %w", s.Endpoint, err)
	}
	if life := time.Duration(most) * time.Second; s.MaxExpiration > life {
		return nil, 0, fmt.Errorf("service-account-max-token-expiration cannot be set longer than the token expiration supported by service-account-signing-endpoint: %s > %s", s.MaxExpiration, life)
	}
	return serviceaccount.NewExternalIssuer(s.Issuers[0], x), most, nil
}

// noteIssued tells the audit log which token was made.
func noteIssued(ctx context.Context, credentialID string) {
	request.Annotate(ctx, "authentication.kubernetes.io/issued-credential-id", credentialID)
}

func sameContent(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	if err != nil {
		return false, err
	}
	return bytes.Equal(bytes.TrimSpace(x), bytes.TrimSpace(y)), nil
}

// AuthenticationInfo is the data of the ConfigMap
// kube-system/extension-apiserver-authentication, from which aggregated
// servers learn whom to believe.
func (o *Options) AuthenticationInfo() (map[string]string, error) {
	data := map[string]string{}
	if o.ClientCAFile != "" {
		content, err := os.ReadFile(o.ClientCAFile)
		if err != nil {
			return nil, err
		}
		data["client-ca-file"] = string(content)
	}
	p := &o.FrontProxy
	if p.ClientCAFile == "" {
		return data, nil
	}
	content, err := os.ReadFile(p.ClientCAFile)
	if err != nil {
		return nil, err
	}
	data["requestheader-client-ca-file"] = string(content)
	for key, values := range map[string][]string{
		"allowed-names": p.AllowedNames, "username-headers": p.Username, "uid-headers": p.UID,
		"group-headers": p.Group, "extra-headers-prefix": p.ExtraPrefixes,
	} {
		if values == nil {
			values = []string{}
		}
		text, err := json.Marshal(values)
		if err != nil {
			return nil, err
		}
		data["requestheader-"+key] = strings.TrimSpace(string(text))
	}
	return data, nil
}
