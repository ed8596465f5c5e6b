package builtin

import (
	"strings"
	"testing"
)

// Stable versions are served by default, alpha and beta ones on request.
func TestServedByDefault(t *testing.T) {
	for _, r := range Scheme().Resources() {
		for _, v := range r.ServedVersions() {
			if stable := !strings.Contains(v.Version, "alpha") && !strings.Contains(v.Version, "beta"); stable == v.OffByDefault {
				t.Errorf("%s.%s/%s: off by default: %v", r.Plural, v.Group, v.Version, v.OffByDefault)
			}
		}
	}
}
