package setup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/jwt"
	"xebec.dev/apiserver/internal/authn/token"
	"xebec.dev/apiserver/internal/authn/webhook"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/kubeconfig"
	"xebec.dev/apiserver/internal/reload"
)

// issuers is what a configuration makes: authenticators and anonymity.
type issuers struct {
	tokens    authn.TokenUnion
	anonymous *jwt.Anonymous
}

func newIssuers(c *jwt.Configuration, m *jwt.Metrics, ways *egress.Selector) (*issuers, error) {
	out := &issuers{anonymous: c.Anonymous}
	for i, j := range c.JWT {
		a, err := jwt.New(j, field.NewPath("jwt").Index(i), jwt.Options{Metrics: m, Dial: ways.To(j.Issuer.EgressSelectorType)})
		if err != nil {
			return nil, err
		}
		out.tokens = append(out.tokens, a)
	}
	return out, nil
}

// reloading asks the authenticators of the file as it is now.
type reloading struct{ file *reload.File[*issuers] }

func (r reloading) AuthenticateToken(ctx context.Context, bearer string, audiences []string) (*authn.Identity, error) {
	return r.file.Get().tokens.AuthenticateToken(ctx, bearer, audiences)
}

// outside are the authenticators of tokens that others issue.
func (b *builder) outside() (authn.TokenUnion, error) {
	var out authn.TokenUnion
	switch {
	case b.o.ConfigFile != "":
		measure := jwt.NewMetrics(b.Metrics)
		file, err := reload.Open(b.o.ConfigFile, func(content []byte) (*issuers, error) {
			c, err := jwt.Parse(content, b.o.ServiceAccount.Issuers)
			if err != nil {
				return nil, fmt.Errorf("authentication config %s: %w", b.o.ConfigFile, err)
			}
			if c.Anonymous != nil && b.o.anonymousGiven() {
				return nil, errors.New("--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file")
			}
			return newIssuers(c, measure, b.Egress)
		}, b.OnError)
		if err != nil {
			return nil, err
		}
		b.config = file.Counted(reload.NewCounts("authentication", b.Metrics))
		out = append(out, token.Agnostic{Own: b.r.Audiences, Tokens: reloading{file}})
	case b.o.OIDC.IssuerURL != "":
		j, err := b.o.OIDC.issuance()
		if err != nil {
			return nil, err
		}
		set, err := newIssuers(&jwt.Configuration{JWT: []jwt.Issuance{*j}}, jwt.NewMetrics(b.Metrics), b.Egress)
		if err != nil {
			return nil, err
		}
		out = append(out, token.Agnostic{Own: b.r.Audiences, Tokens: set.tokens})
	}
	if w := &b.o.Webhook; w.ConfigFile != "" {
		remote, err := kubeconfig.Load(w.ConfigFile, b.Egress.To(egress.ControlPlane))
		if err != nil {
			return nil, err
		}
		out = append(out, token.NewCache(webhook.New(remote, w.Version, b.r.Audiences), w.TTL, w.TTL))
	}
	return out, nil
}

// issuance puts the flags into the words of the configuration file.
func (c *OIDC) issuance() (*jwt.Issuance, error) {
	prefix := c.UsernamePrefix
	switch {
	case prefix == "-":
		prefix = ""
	case prefix == "" && c.UsernameClaim != "email":
		// Names of several issuers must not meet, nor those of the cluster.
		prefix = c.IssuerURL + "#"
	}
	j := &jwt.Issuance{
		Issuer:      jwt.Issuer{URL: c.IssuerURL, Audiences: []string{c.ClientID}},
		SigningAlgs: c.SigningAlgs,
	}
	j.ClaimMappings.Username = jwt.PrefixedMapping{Claim: c.UsernameClaim, Prefix: &prefix}
	if c.GroupsClaim != "" {
		j.ClaimMappings.Groups = jwt.PrefixedMapping{Claim: c.GroupsClaim, Prefix: &c.GroupsPrefix}
	}
	for _, k := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		j.ClaimValidationRules = append(j.ClaimValidationRules, jwt.ClaimRule{Claim: k, RequiredValue: c.RequiredClaims[k]})
	}
	if c.CAFile != "" {
		content, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		j.Issuer.CertificateAuthority = string(content)
	}
	return j, j.Validate()
}
