// Package jwt authenticates by tokens of OpenID Connect issuers, as flags or
// an AuthenticationConfiguration describe them.
package jwt

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/configfile"
)

// Configuration is the kind AuthenticationConfiguration.
type Configuration struct {
	metav1.TypeMeta `json:",inline"`
	JWT             []Issuance `json:"jwt,omitempty"`
	Anonymous       *Anonymous `json:"anonymous,omitempty"`
}

// Anonymous says where requests may come without credentials.
type Anonymous struct {
	Enabled    bool        `json:"enabled"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition names a path.
type Condition struct {
	Path string `json:"path"`
}

// Issuance is one issuer and what its tokens mean.
type Issuance struct {
	Issuer               Issuer        `json:"issuer"`
	ClaimValidationRules []ClaimRule   `json:"claimValidationRules,omitempty"`
	ClaimMappings        ClaimMappings `json:"claimMappings"`
	UserValidationRules  []UserRule    `json:"userValidationRules,omitempty"`
	// SigningAlgs can only be given by flags.
	SigningAlgs []string `json:"-"`
}

// Issuer is who signs.
type Issuer struct {
	URL                  string   `json:"url"`
	DiscoveryURL         *string  `json:"discoveryURL,omitempty"`
	CertificateAuthority string   `json:"certificateAuthority,omitempty"`
	Audiences            []string `json:"audiences"`
	AudienceMatchPolicy  string   `json:"audienceMatchPolicy,omitempty"`
	EgressSelectorType   string   `json:"egressSelectorType,omitempty"`
}

// ClaimRule must hold for the claims.
type ClaimRule struct {
	Claim         string `json:"claim,omitempty"`
	RequiredValue string `json:"requiredValue,omitempty"`
	Expression    string `json:"expression,omitempty"`
	Message       string `json:"message,omitempty"`
}

// ClaimMappings make the user of the claims.
type ClaimMappings struct {
	Username PrefixedMapping `json:"username"`
	Groups   PrefixedMapping `json:"groups,omitempty"`
	UID      Mapping         `json:"uid"`
	Extra    []ExtraMapping  `json:"extra,omitempty"`
}

// PrefixedMapping is a claim with a prefix, or an expression.
type PrefixedMapping struct {
	Claim      string  `json:"claim,omitempty"`
	Prefix     *string `json:"prefix,omitempty"`
	Expression string  `json:"expression,omitempty"`
}

// Mapping is a claim or an expression.
type Mapping struct {
	Claim      string `json:"claim,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// ExtraMapping is one key of the user's extra.
type ExtraMapping struct {
	Key             string `json:"key"`
	ValueExpression string `json:"valueExpression"`
}

// UserRule must hold for the user.
type UserRule struct {
	Expression string `json:"expression"`
	Message    string `json:"message,omitempty"`
}

// Parse reads and validates a configuration. Issuers of disallowed, the
// service accounts', may not be used.
func Parse(content []byte, disallowed []string) (*Configuration, error) {
	var c Configuration
	if _, err := configfile.Decode(content, configfile.Group, "AuthenticationConfiguration", []string{"v1", "v1beta1", "v1alpha1"}, &c); err != nil {
		return nil, err
	}
	if errs := c.validate(disallowed); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return &c, nil
}

func (c *Configuration) validate(disallowed []string) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("jwt")
	if len(c.JWT) > 64 {
		errs = append(errs, field.TooMany(path, len(c.JWT), 64))
	}
	issuers, discovery := map[string]bool{}, map[string]bool{}
	for i := range c.JWT {
		j, p := &c.JWT[i], path.Index(i)
		if issuers[j.Issuer.URL] && j.Issuer.URL != "" {
			errs = append(errs, field.Duplicate(p.Child("issuer", "url"), j.Issuer.URL))
		}
		issuers[j.Issuer.URL] = true
		if d := j.Issuer.DiscoveryURL; d != nil && *d != "" {
			if discovery[*d] {
				errs = append(errs, field.Duplicate(p.Child("issuer", "discoveryURL"), *d))
			}
			discovery[*d] = true
		}
		errs = append(errs, j.validate(p, disallowed)...)
	}
	if a := c.Anonymous; a != nil {
		at := field.NewPath("anonymous", "conditions")
		if !a.Enabled && len(a.Conditions) > 0 {
			errs = append(errs, field.Invalid(at, a.Conditions, "enabled should be set to true when conditions are defined"))
		}
	}
	return errs
}

// Validate checks one issuance that flags describe.
func (j *Issuance) Validate() error {
	if errs := j.validate(field.NewPath("jwt").Index(0), nil); len(errs) > 0 {
		return errs.ToAggregate()
	}
	return nil
}
