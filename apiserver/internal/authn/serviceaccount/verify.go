package serviceaccount

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// Verifier accepts tokens of some issuers, of today's kind: bound to objects
// that must still be there.
type Verifier struct {
	issuers []string
	keys    Keys
	// own are the API server's audiences.
	own    []string
	lookup bool
	objects
	now func() time.Time
	// Used is told of each good token, stale of those used after they should
	// have been renewed.
	Used func(stale bool)
}

// Deps are what tokens are checked against.
type Deps struct {
	Reader storage.Reader
	Fresh  Getter
	Scheme *scheme.Scheme
	Now    func() time.Time
}

func (d *Deps) now() func() time.Time {
	if d.Now != nil {
		return d.Now
	}
	return time.Now
}

// NewVerifier makes a verifier. Without lookup, tokens of deleted accounts
// stay good until they expire.
func NewVerifier(issuers []string, keys Keys, own []string, lookup bool, d Deps) *Verifier {
	return &Verifier{issuers: issuers, keys: keys, own: own, lookup: lookup, objects: newObjects(d.Reader, d.Fresh, d.Scheme), now: d.now()}
}

// issuerOf reads the issuer of something that may be a token, unverified.
func issuerOf(token string) string {
	if len(token) > maxTokenLength {
		return ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return ""
	}
	return c.Issuer
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (v *Verifier) AuthenticateToken(ctx context.Context, token string, audiences []string) (*authn.Identity, error) {
	if issuer := issuerOf(token); issuer == "" || !contains(v.issuers, issuer) {
		return nil, nil
	}
	var c received
	if err := open(token, v.keys, &c); err != nil {
		return nil, err
	}
	wanted := audiences
	if len(wanted) == 0 {
		wanted = v.own
	}
	match := intersect(c.Audience, wanted)
	if len(match) == 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", []string(c.Audience), wanted)
	}
	if err := v.validate(ctx, &c); err != nil {
		return nil, err
	}
	id, late := c.identity(match), c.late(v.now())
	if late > 0 {
		id.Annotations = map[string]string{staleKey: fmt.Sprintf("subject: %s, seconds after warning threshold: %.0f", c.Subject, late.Seconds())}
	}
	if v.Used != nil {
		v.Used(late > 0)
	}
	return id, nil
}

// staleKey is left in the audit log by the use of a token that should have
// been renewed.
const staleKey = "authentication.k8s.io/stale-token"

// late is how long ago the token should have been renewed.
func (c *received) late(now time.Time) time.Duration {
	if w := c.Kubernetes.WarnAfter; w != nil {
		return now.Sub(w.Time())
	}
	return 0
}

func (v *Verifier) validate(ctx context.Context, c *received) error {
	now := v.now()
	if err := c.current(now); err != nil {
		return err
	}
	k := &c.Kubernetes
	if c.Expiry == nil || k.Namespace == "" || k.ServiceAccount.Name == "" || c.Subject != Username(k.Namespace, k.ServiceAccount.Name) {
		return fmt.Errorf("service account token claims could not be validated")
	}
	if v.lookup {
		if _, err := v.account(ctx, k.Namespace, k.ServiceAccount, now); err != nil {
			return err
		}
	}
	if err := v.check(ctx, v.secrets, k.Namespace, k.Secret, now); err != nil {
		return err
	}
	if err := v.check(ctx, v.pods, k.Namespace, k.Pod, now); err != nil {
		return err
	}
	// The node of a pod-bound token is told, not checked: the pod ends with it.
	if k.Pod == nil {
		if err := v.check(ctx, v.nodes, "", k.Node, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *received) identity(audiences []string) *authn.Identity {
	k := &c.Kubernetes
	extra := map[string][]string{}
	if k.Pod != nil {
		extra[PodNameKey], extra[PodUIDKey] = []string{k.Pod.Name}, []string{k.Pod.UID}
	}
	if k.Node != nil {
		extra[NodeNameKey] = []string{k.Node.Name}
		if k.Node.UID != "" {
			extra[NodeUIDKey] = []string{k.Node.UID}
		}
	}
	if id := c.credentialID(); id != "" {
		extra[authn.CredentialIDKey] = []string{id}
	}
	return &authn.Identity{
		User: request.User{
			Name: Username(k.Namespace, k.ServiceAccount.Name), UID: k.ServiceAccount.UID,
			Groups: Groups(k.Namespace), Extra: extra,
		},
		Method: methodName, CredentialID: c.credentialID(), Audiences: audiences,
	}
}

func contains(set []string, s string) bool {
	for _, x := range set {
		if x == s {
			return true
		}
	}
	return false
}

func intersect(a, b []string) []string {
	var out []string
	for _, x := range a {
		if contains(b, x) && !contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
