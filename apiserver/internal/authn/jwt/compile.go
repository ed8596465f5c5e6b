package jwt

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/expression"
)

var (
	userStruct = &expression.Struct{Name: "kubernetes.UserInfo", Fields: map[string]*cel.Type{
		"username": cel.StringType, "uid": cel.StringType, "groups": cel.ListType(cel.StringType),
		"extra": cel.MapType(cel.StringType, cel.ListType(cel.StringType)),
	}}
	claimsScope = &expression.Scope{Variables: map[string]*cel.Type{"claims": cel.MapType(cel.StringType, cel.DynType)}}
	userScope   = &expression.Scope{Variables: map[string]*cel.Type{"user": userStruct.Type()}, Structs: []*expression.Struct{userStruct}}

	aString = []*cel.Type{cel.StringType}
	strs    = []*cel.Type{cel.StringType, cel.ListType(cel.StringType), cel.ListType(cel.DynType)}
)

// compiled are the expressions of one issuance; nil where there is none.
type compiled struct {
	username, groups, uid *expression.Program
	extra                 []*expression.Program
	claimRules            []*expression.Program // by rule, nil for plain ones
	userRules             []*expression.Program
}

func (j *Issuance) compile(p *field.Path) (*compiled, error) {
	var errs field.ErrorList
	one := func(scope *expression.Scope, at *field.Path, source string, yields ...*cel.Type) *expression.Program {
		if source == "" {
			return nil
		}
		program, err := scope.Compile(source, yields...)
		if err != nil {
			errs = append(errs, field.Invalid(at, source, err.Error()))
		}
		return program
	}
	c := &compiled{}
	m, at := &j.ClaimMappings, p.Child("claimMappings")
	c.username = one(claimsScope, at.Child("username", "expression"), m.Username.Expression, aString...)
	c.groups = one(claimsScope, at.Child("groups", "expression"), m.Groups.Expression, strs...)
	c.uid = one(claimsScope, at.Child("uid", "expression"), m.UID.Expression, aString...)
	for i, e := range m.Extra {
		c.extra = append(c.extra, one(claimsScope, at.Child("extra").Index(i).Child("valueExpression"), e.ValueExpression, strs...))
	}
	for i, r := range j.ClaimValidationRules {
		c.claimRules = append(c.claimRules, one(claimsScope, p.Child("claimValidationRules").Index(i).Child("expression"), r.Expression, cel.BoolType))
	}
	for i, r := range j.UserValidationRules {
		c.userRules = append(c.userRules, one(userScope, p.Child("userValidationRules").Index(i).Child("expression"), r.Expression, cel.BoolType))
	}
	if j.mentions("email") && !j.mentionsAnywhere("email_verified") {
		errs = append(errs, field.Invalid(at.Child("username", "expression"), m.Username.Expression,
			"claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("authentication config: %w", errs.ToAggregate())
	}
	return c, nil
}

// mentions reports whether the username expression reads a claim.
func (j *Issuance) mentions(claim string) bool {
	return reads(j.ClaimMappings.Username.Expression, claim)
}

func (j *Issuance) mentionsAnywhere(claim string) bool {
	if j.mentions(claim) {
		return true
	}
	for _, e := range j.ClaimMappings.Extra {
		if reads(e.ValueExpression, claim) {
			return true
		}
	}
	for _, r := range j.ClaimValidationRules {
		if reads(r.Expression, claim) {
			return true
		}
	}
	return false
}

// reads looks for claims.NAME, claims.?NAME and claims["NAME"] in an
// expression, as whole words.
func reads(source, claim string) bool {
	for _, form := range []string{"claims." + claim, "claims.?" + claim, `claims["` + claim, `claims['` + claim, `claims[?"` + claim, `claims[?'` + claim} {
		for rest := source; ; {
			i := strings.Index(rest, form)
			if i < 0 {
				break
			}
			rest = rest[i+len(form):]
			if rest == "" || !isWord(rest[0]) {
				return true
			}
		}
	}
	return false
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
