package builtin

import (
	"strings"
	"testing"

	"xebec.dev/api/scheme"
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

// TestRemoved: a version that the API's types call unavailable since this level
// is not served, whatever is asked for.
func TestRemoved(t *testing.T) {
	const level = 37
	for _, r := range Scheme().Resources() {
		for _, v := range r.ServedVersions() {
			if minor := removed(r, &v); minor != 0 && minor <= level {
				t.Errorf("%s.%s/%s is served, and unavailable since v1.%d", r.Plural, v.Group, v.Version, minor)
			}
		}
	}
}

func removed(r *scheme.Resource, v *scheme.Version) int {
	example := v.New
	if example == nil {
		example = r.New
	}
	if o, ok := example().(interface{ APILifecycleRemoved() (major, minor int) }); ok {
		_, minor := o.APILifecycleRemoved()
		return minor
	}
	return 0
}
