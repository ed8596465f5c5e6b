// Package setup makes the chain of admission plugins that the flags ask for,
// in Kubernetes' order.
package setup

import (
	"fmt"
	"slices"
	"strings"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/storage"
)

// Options are the administrator's.
type Options struct {
	// Enable adds to the default plugins, Disable leaves some out.
	Enable, Disable []string
	// ConfigFile is an AdmissionConfiguration.
	ConfigFile string
	// NotReadySeconds and UnreachableSeconds are of DefaultTolerationSeconds.
	NotReadySeconds, UnreachableSeconds int64
}

// Deps are what plugins work with.
type Deps struct {
	Reader     storage.Reader
	Store      storage.Store
	Authorizer authz.Authorizer
	Scheme     *scheme.Scheme
	// Create makes objects as the server itself, for NamespaceAutoProvision.
	Create Creator
	// Always are plugins that no flag turns off; they come last.
	Always []admission.Plugin
}

// resource finds a resource that the table is known to have.
func (d *Deps) resource(group, plural string) *scheme.Resource {
	r, ok := d.Scheme.Resource(group, plural)
	if !ok {
		panic(fmt.Sprintf("the table has no %s in group %q", plural, group))
	}
	return r
}

// Build makes the chain.
func Build(o *Options, d Deps) (*admission.Chain, error) {
	b := &builder{Options: o, Deps: &d}
	list := b.plugins()
	known := make([]string, len(list))
	for i := range list {
		known[i] = list[i].name
	}
	if err := checkNames(o, known); err != nil {
		return nil, err
	}
	config, err := readConfig(o.ConfigFile, known)
	if err != nil {
		return nil, fmt.Errorf("--admission-control-config-file: %w", err)
	}
	var on []admission.Plugin
	for i := range list {
		c := &list[i]
		if c.make == nil || slices.Contains(o.Disable, c.name) || !c.byDefault && !slices.Contains(o.Enable, c.name) {
			continue
		}
		p, err := c.make(config[c.name])
		if err != nil {
			return nil, fmt.Errorf("admission plugin %s: %w", c.name, err)
		}
		on = append(on, p)
	}
	return admission.NewChain(append(on, d.Always...)...), nil
}

func checkNames(o *Options, known []string) error {
	for _, flag := range []struct {
		name  string
		given []string
	}{{"--enable-admission-plugins", o.Enable}, {"--disable-admission-plugins", o.Disable}} {
		for _, name := range flag.given {
			if !slices.Contains(known, name) {
				return fmt.Errorf("%s: %w", flag.name, unknown(name, known))
			}
		}
	}
	for _, name := range o.Enable {
		if slices.Contains(o.Disable, name) {
			return fmt.Errorf("admission plugin %q is both enabled and disabled", name)
		}
	}
	return nil
}

func unknown(name string, known []string) error {
	known = slices.Sorted(slices.Values(known))
	return fmt.Errorf("plugin %q is unknown; the plugins are %s", name, strings.Join(known, ", "))
}
