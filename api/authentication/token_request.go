package authentication

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits and default of a token's life, in seconds.
const (
	DefaultTokenSeconds = 3600
	minTokenSeconds     = 600
	maxTokenSeconds     = 1 << 32
)

// DefaultTokenRequest fills in what POST .../serviceaccounts/NAME/token may
// leave out.
func DefaultTokenRequest(r *authenticationv1.TokenRequest) {
	if r.Spec.ExpirationSeconds == nil {
		seconds := int64(DefaultTokenSeconds)
		r.Spec.ExpirationSeconds = &seconds
	}
}

// ValidateTokenRequest checks a defaulted request.
func ValidateTokenRequest(r *authenticationv1.TokenRequest) field.ErrorList {
	path := field.NewPath("spec", "expirationSeconds")
	seconds := r.Spec.ExpirationSeconds
	switch {
	case seconds == nil:
		return nil
	case *seconds < minTokenSeconds:
		return field.ErrorList{field.Invalid(path, *seconds, "may not specify a duration less than 10 minutes")}
	case *seconds > maxTokenSeconds:
		return field.ErrorList{field.Invalid(path, *seconds, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}
