package jwt

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const matchAny = "MatchAny"

func (j *Issuance) validate(p *field.Path, disallowed []string) field.ErrorList {
	errs := j.Issuer.validate(p.Child("issuer"), disallowed)
	seen := map[string]bool{}
	for i, r := range j.ClaimValidationRules {
		errs = append(errs, r.validate(p.Child("claimValidationRules").Index(i), seen)...)
	}
	errs = append(errs, j.ClaimMappings.validate(p.Child("claimMappings"))...)
	seen = map[string]bool{}
	for i, r := range j.UserValidationRules {
		at := p.Child("userValidationRules").Index(i).Child("expression")
		switch {
		case r.Expression == "":
			errs = append(errs, field.Required(at, "expression is required"))
		case seen[r.Expression]:
			errs = append(errs, field.Duplicate(at, r.Expression))
		}
		seen[r.Expression] = true
	}
	return errs
}

func (i *Issuer) validate(p *field.Path, disallowed []string) field.ErrorList {
	errs := validateURL(p.Child("url"), i.URL, false)
	if slices.Contains(disallowed, i.URL) {
		errs = append(errs, field.Invalid(p.Child("url"), i.URL, "URL must not overlap with disallowed issuers: "+strings.Join(disallowed, ", ")))
	}
	if d := i.DiscoveryURL; d != nil && *d != "" {
		errs = append(errs, validateURL(p.Child("discoveryURL"), *d, true)...)
		if strings.TrimRight(*d, "/") == strings.TrimRight(i.URL, "/") {
			errs = append(errs, field.Invalid(p.Child("discoveryURL"), *d, "discoveryURL must be different from URL"))
		}
	}
	if i.CertificateAuthority != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(i.CertificateAuthority)) {
		errs = append(errs, field.Invalid(p.Child("certificateAuthority"), "<omitted>", "data does not contain any valid RSA or ECDSA certificates"))
	}
	at := p.Child("audiences")
	if len(i.Audiences) == 0 {
		errs = append(errs, field.Required(at, "at least one jwt.issuer.audiences is required"))
	}
	for n, a := range i.Audiences {
		switch {
		case a == "":
			errs = append(errs, field.Required(at.Index(n), "audience can't be empty"))
		case slices.Contains(i.Audiences[:n], a):
			errs = append(errs, field.Duplicate(at.Index(n), a))
		}
	}
	switch policy := i.AudienceMatchPolicy; {
	case len(i.Audiences) > 1 && policy != matchAny:
		errs = append(errs, field.Invalid(p.Child("audienceMatchPolicy"), policy, "audienceMatchPolicy must be MatchAny for multiple audiences"))
	case policy != "" && policy != matchAny:
		errs = append(errs, field.Invalid(p.Child("audienceMatchPolicy"), policy, "audienceMatchPolicy must be empty or MatchAny for single audience"))
	}
	if t := i.EgressSelectorType; t != "" && t != "controlplane" && t != "cluster" {
		errs = append(errs, field.Invalid(p.Child("egressSelectorType"), t, `egress selector must be either "controlplane" or "cluster"`))
	}
	return errs
}

func validateURL(p *field.Path, text string, discovery bool) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(p, "URL is required")}
	}
	u, err := url.Parse(text)
	if err != nil {
		return field.ErrorList{field.Invalid(p, text, err.Error())}
	}
	var errs field.ErrorList
	if u.Scheme != "https" {
		errs = append(errs, field.Invalid(p, text, "URL scheme must be https"))
	}
	if u.User != nil {
		errs = append(errs, field.Invalid(p, text, "URL must not contain a username or password"))
	}
	if u.RawQuery != "" {
		errs = append(errs, field.Invalid(p, text, "URL must not contain a query"))
	}
	if u.Fragment != "" {
		errs = append(errs, field.Invalid(p, text, "URL must not contain a fragment"))
	}
	if discovery && (u.Path == "" || u.Path == "/") {
		errs = append(errs, field.Invalid(p, text, "discoveryURL must contain a path"))
	}
	return errs
}

func (r *ClaimRule) validate(p *field.Path, seen map[string]bool) field.ErrorList {
	switch {
	case r.Claim == "" && r.Expression == "":
		return field.ErrorList{field.Required(p, "claim or expression is required")}
	case r.Claim != "" && r.Expression != "":
		return field.ErrorList{field.Invalid(p, r.Claim, "claim and expression can't both be set")}
	case r.Claim != "" && r.Message != "":
		return field.ErrorList{field.Invalid(p.Child("message"), r.Message, "message can't be set when claim is set")}
	case r.Expression != "" && r.RequiredValue != "":
		return field.ErrorList{field.Invalid(p.Child("requiredValue"), r.RequiredValue, "requiredValue can't be set when expression is set")}
	}
	key := r.Claim + "\x00" + r.Expression
	if seen[key] {
		if r.Claim != "" {
			return field.ErrorList{field.Duplicate(p.Child("claim"), r.Claim)}
		}
		return field.ErrorList{field.Duplicate(p.Child("expression"), r.Expression)}
	}
	seen[key] = true
	return nil
}

func (m *ClaimMappings) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Username.Claim == "" && m.Username.Expression == "" {
		errs = append(errs, field.Required(p.Child("username"), "claim or expression is required"))
	}
	errs = append(errs, m.Username.validate(p.Child("username"))...)
	errs = append(errs, m.Groups.validate(p.Child("groups"))...)
	if m.UID.Claim != "" && m.UID.Expression != "" {
		errs = append(errs, field.Invalid(p.Child("uid"), "", "claim and expression can't both be set"))
	}
	seen := map[string]bool{}
	for i, e := range m.Extra {
		at := p.Child("extra").Index(i)
		if seen[e.Key] {
			errs = append(errs, field.Duplicate(at.Child("key"), e.Key))
		}
		seen[e.Key] = true
		errs = append(errs, validateExtraKey(at.Child("key"), e.Key)...)
		if e.ValueExpression == "" {
			errs = append(errs, field.Required(at.Child("valueExpression"), "valueExpression is required"))
		}
	}
	return errs
}

func (m *PrefixedMapping) validate(p *field.Path) field.ErrorList {
	switch {
	case m.Claim != "" && m.Expression != "":
		return field.ErrorList{field.Invalid(p, "", "claim and expression can't both be set")}
	case m.Expression != "" && m.Prefix != nil:
		return field.ErrorList{field.Invalid(p.Child("prefix"), *m.Prefix, "prefix can't be set when expression is set")}
	case m.Claim != "" && m.Prefix == nil:
		return field.ErrorList{field.Required(p.Child("prefix"), "prefix is required when claim is set. It can be set to an empty string to disable prefixing")}
	case m.Claim == "" && m.Expression == "" && m.Prefix != nil && *m.Prefix != "":
		return field.ErrorList{field.Required(p.Child("claim"), "non-empty claim name is required when prefix is set")}
	}
	return nil
}

// validateExtraKey keeps extra keys apart from Kubernetes' own.
func validateExtraKey(p *field.Path, key string) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(p, "key is required")}
	}
	var errs field.ErrorList
	if key != strings.ToLower(key) {
		errs = append(errs, field.Invalid(p, key, "key must be lowercase"))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(p, key)...)
	domain, _, _ := strings.Cut(key, "/")
	for _, reserved := range []string{"k8s.io", "kubernetes.io"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			errs = append(errs, field.Invalid(p, key, reserved+" is reserved for Kubernetes use"))
		}
	}
	return errs
}
