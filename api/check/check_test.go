package check

import (
	"strings"
	"testing"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "-a", "a-", "a..b", ".a", "a.", "A", "a_b", "1.2.3.4", "é",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := field.NewPath("x")
		if got, want := len(Subdomain(p, s)), len(utilvalidation.IsDNS1123Subdomain(s)); got != want {
			t.Errorf("subdomain %q: %d errors, want %d", s, got, want)
		}
		if got, want := len(Label(p, s)), len(utilvalidation.IsDNS1123Label(s)); got != want {
			t.Errorf("label %q: %d errors, want %d", s, got, want)
		}
	})
}
