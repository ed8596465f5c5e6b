package authentication

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
)

func TestTokenRequest(t *testing.T) {
	r := &authenticationv1.TokenRequest{}
	DefaultTokenRequest(r)
	if *r.Spec.ExpirationSeconds != 3600 {
		t.Errorf("default %d", *r.Spec.ExpirationSeconds)
	}
	for seconds, errs := range map[int64]int{-1: 1, 599: 1, 600: 0, 1 << 32: 0, 1<<32 + 1: 1} {
		*r.Spec.ExpirationSeconds = seconds
		if got := ValidateTokenRequest(r); len(got) != errs {
			t.Errorf("%d: %v", seconds, got)
		}
	}
}
