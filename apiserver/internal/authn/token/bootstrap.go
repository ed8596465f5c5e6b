package token

import (
	"context"
	"crypto/subtle"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

var (
	bootstrapToken = regexp.MustCompile(`\A([a-z0-9]{6})\.([a-z0-9]{16})\z`)
	bootstrapGroup = regexp.MustCompile(`\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`)
)

// Bootstrap accepts the tokens that new nodes join with: Secrets named
// bootstrap-token-ID in kube-system.
type Bootstrap struct {
	reader  storage.Reader
	secrets *scheme.Resource
	now     func() time.Time
}

// NewBootstrap makes the authenticator.
func NewBootstrap(reader storage.Reader, s *scheme.Scheme) *Bootstrap {
	r, ok := s.Resource("", "secrets")
	if !ok {
		panic("token: the table has no secrets")
	}
	return &Bootstrap{reader: reader, secrets: r, now: time.Now}
}

// AuthenticateToken implements authn.TokenAuthenticator. A token that is of
// the form but not valid is nobody's, so that other authenticators may try.
func (b *Bootstrap) AuthenticateToken(_ context.Context, token string, _ []string) (*authn.Identity, error) {
	m := bootstrapToken.FindStringSubmatch(token)
	if m == nil {
		return nil, nil
	}
	id, secret := m[1], m[2]
	o, ok := b.reader.Get(b.secrets, metav1.NamespaceSystem, "bootstrap-token-"+id)
	if !ok {
		return nil, nil
	}
	s := o.(*corev1.Secret)
	groups, ok := bootstrapGroups(s, id, secret, b.now())
	if !ok {
		return nil, nil
	}
	return &authn.Identity{User: request.User{Name: "system:bootstrap:" + id, Groups: groups}, Method: "bootstrap"}, nil
}

// bootstrapGroups are the groups a Secret gives, ok when it allows the token
// at that time.
func bootstrapGroups(s *corev1.Secret, id, secret string, now time.Time) (groups []string, ok bool) {
	if s.DeletionTimestamp != nil || s.Type != "bootstrap.kubernetes.io/token" {
		return nil, false
	}
	if subtle.ConstantTimeCompare(s.Data["token-secret"], []byte(secret)) != 1 || string(s.Data["token-id"]) != id {
		return nil, false
	}
	if e := string(s.Data["expiration"]); e != "" {
		// What cannot be read has expired.
		if t, err := time.Parse(time.RFC3339, e); err != nil || !now.Before(t) {
			return nil, false
		}
	}
	if string(s.Data["usage-bootstrap-authentication"]) != "true" {
		return nil, false
	}
	groups, err := ParseBootstrapGroups(string(s.Data["auth-extra-groups"]))
	if err != nil {
		return nil, false
	}
	return groups, true
}

// ParseBootstrapGroups reads the auth-extra-groups of a bootstrap token.
func ParseBootstrapGroups(list string) ([]string, error) {
	groups := []string{"system:bootstrappers"}
	if list == "" {
		return groups, nil
	}
	for _, g := range strings.Split(list, ",") {
		if !bootstrapGroup.MatchString(g) {
			return nil, fmt.Errorf("bootstrap group %q is invalid (must match %s)", g, bootstrapGroup)
		}
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	return groups, nil
}
