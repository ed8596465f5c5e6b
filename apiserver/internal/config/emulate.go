package config

import (
	"fmt"
	"strings"

	"xebec.dev/apiserver/internal/version"
)

// checkEmulated refuses to be another version than this one: --emulated-version
// is COMPONENT=MAJOR.MINOR, or without a component for this one.
func checkEmulated(values []string) error {
	own := version.Get().Major + "." + version.Get().Minor
	for _, v := range values {
		component, wanted, named := strings.Cut(v, "=")
		if !named {
			component, wanted = "kube", v
		}
		if component != "kube" {
			return fmt.Errorf("--emulated-version: component %q is not known here, give kube=%s", component, own)
		}
		if w := strings.TrimPrefix(wanted, "v"); w != own && !strings.HasPrefix(w, own+".") {
			return fmt.Errorf("--emulated-version: %s can't be emulated: this server is %s and nothing else; leave the flag out, or run the version you need", wanted, own)
		}
	}
	return nil
}
