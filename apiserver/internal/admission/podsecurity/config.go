package podsecurity

import (
	"fmt"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	psa "k8s.io/pod-security-admission/api"

	"xebec.dev/apiserver/internal/configfile"
)

// Config is what the administrator sets.
type Config struct {
	// Defaults hold for namespaces without labels.
	Defaults   psa.Policy
	Exemptions Exemptions
}

// Exemptions are whose pods are not judged.
type Exemptions struct {
	Usernames      []string `json:"usernames,omitempty"`
	RuntimeClasses []string `json:"runtimeClasses,omitempty"`
	Namespaces     []string `json:"namespaces,omitempty"`
}

const configGroup = "pod-security.admission.config.k8s.io"

type file struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Defaults   struct {
		Enforce        string `json:"enforce,omitempty"`
		EnforceVersion string `json:"enforce-version,omitempty"`
		Audit          string `json:"audit,omitempty"`
		AuditVersion   string `json:"audit-version,omitempty"`
		Warn           string `json:"warn,omitempty"`
		WarnVersion    string `json:"warn-version,omitempty"`
	} `json:"defaults"`
	Exemptions Exemptions `json:"exemptions"`
}

// DefaultConfig forbids nothing.
func DefaultConfig() *Config {
	open := psa.LevelVersion{Level: psa.LevelPrivileged, Version: psa.LatestVersion()}
	return &Config{Defaults: psa.Policy{Enforce: open, Audit: open, Warn: open}}
}

// Configuration reads a PodSecurityConfiguration; empty content gives the
// default one.
func Configuration(content []byte) (*Config, error) {
	c := DefaultConfig()
	if len(content) == 0 {
		return c, nil
	}
	var f file
	if _, err := configfile.Decode(content, configGroup, "PodSecurityConfiguration", []string{"v1", "v1beta1", "v1alpha1"}, &f); err != nil {
		return nil, err
	}
	for _, mode := range []struct {
		name, level, version string
		to                   *psa.LevelVersion
	}{
		{"enforce", f.Defaults.Enforce, f.Defaults.EnforceVersion, &c.Defaults.Enforce},
		{"audit", f.Defaults.Audit, f.Defaults.AuditVersion, &c.Defaults.Audit},
		{"warn", f.Defaults.Warn, f.Defaults.WarnVersion, &c.Defaults.Warn},
	} {
		var err error
		if mode.level != "" {
			if mode.to.Level, err = psa.ParseLevel(mode.level); err != nil {
				return nil, fmt.Errorf("defaults.%s: %q: %w", mode.name, mode.level, err)
			}
		}
		if mode.version != "" {
			if mode.to.Version, err = psa.ParseVersion(mode.version); err != nil {
				return nil, fmt.Errorf("defaults.%s-version: %q: %w", mode.name, mode.version, err)
			}
		}
	}
	c.Exemptions = f.Exemptions
	return c, c.Exemptions.validate()
}

func (e *Exemptions) validate() error {
	seen := map[string]bool{}
	for _, list := range []struct {
		name   string
		values []string
		check  func(string) []string
	}{
		{"namespaces", e.Namespaces, utilvalidation.IsDNS1123Label},
		{"runtimeClasses", e.RuntimeClasses, utilvalidation.IsDNS1123Subdomain},
		{"usernames", e.Usernames, nil},
	} {
		for i, v := range list.values {
			at := fmt.Sprintf("exemptions.%s[%d]", list.name, i)
			if v == "" {
				return fmt.Errorf("%s: must not be empty", at)
			}
			if list.check != nil {
				if errs := list.check(v); len(errs) > 0 {
					return fmt.Errorf("%s: %q: %s", at, v, errs[0])
				}
			}
			if key := list.name + "/" + v; seen[key] {
				return fmt.Errorf("%s: %q is there twice", at, v)
			} else {
				seen[key] = true
			}
		}
	}
	return nil
}
