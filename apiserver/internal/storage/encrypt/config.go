package encrypt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/value"
)

// Config is an EncryptionConfiguration made ready.
type Config struct{ rules []rule }

type rule struct {
	resources []string
	providers *Providers
}

// The file's form, apiserver.config.k8s.io/v1.
type file struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Resources  []fileGroup `json:"resources"`
}

type fileGroup struct {
	Resources []string       `json:"resources"`
	Providers []fileProvider `json:"providers"`
}

type fileProvider struct {
	AESGCM    *fileKeys `json:"aesgcm,omitempty"`
	AESCBC    *fileKeys `json:"aescbc,omitempty"`
	Secretbox *fileKeys `json:"secretbox,omitempty"`
	Identity  *struct{} `json:"identity,omitempty"`
	KMS       *struct {
		Name string `json:"name"`
	} `json:"kms,omitempty"`
}

type fileKeys struct {
	Keys []struct {
		Name   string `json:"name"`
		Secret string `json:"secret"`
	} `json:"keys"`
}

// Parse reads an EncryptionConfiguration.
func Parse(text []byte) (*Config, error) {
	var f file
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return nil, fmt.Errorf("read the encryption configuration: %w", err)
	}
	if f.APIVersion != "apiserver.config.k8s.io/v1" || f.Kind != "EncryptionConfiguration" {
		return nil, fmt.Errorf("%s %s is not an EncryptionConfiguration of apiserver.config.k8s.io/v1", f.APIVersion, f.Kind)
	}
	if len(f.Resources) == 0 {
		return nil, errors.New("the encryption configuration names no resources")
	}
	c := &Config{}
	for i, g := range f.Resources {
		p, err := providers(g.Providers)
		if err != nil {
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
		if len(g.Resources) == 0 {
			return nil, fmt.Errorf("resources[%d]: no resources", i)
		}
		c.rules = append(c.rules, rule{g.Resources, p})
	}
	return c, nil
}

func providers(list []fileProvider) (*Providers, error) {
	if len(list) == 0 {
		return nil, errors.New("no providers")
	}
	p := &Providers{}
	for i, f := range list {
		all, err := f.seals()
		if err != nil {
			return nil, fmt.Errorf("providers[%d]: %w", i, err)
		}
		p.all = append(p.all, all...)
	}
	return p, nil
}

// seals are a provider's keys in order.
func (f *fileProvider) seals() ([]sealed, error) {
	var all []sealed
	kinds := 0
	for _, k := range []struct {
		name string
		keys *fileKeys
		make func([]byte) (seal, error)
	}{{"aesgcm", f.AESGCM, newGCM}, {"aescbc", f.AESCBC, newCBC}, {"secretbox", f.Secretbox, newBox}} {
		if k.keys == nil {
			continue
		}
		kinds++
		if len(k.keys.Keys) == 0 {
			return nil, fmt.Errorf("%s has no keys", k.name)
		}
		for _, key := range k.keys.Keys {
			secret, err := base64.StdEncoding.DecodeString(key.Secret)
			if err != nil {
				return nil, fmt.Errorf("%s key %q: the secret is not base64", k.name, key.Name)
			}
			if key.Name == "" || strings.Contains(key.Name, ":") {
				return nil, fmt.Errorf("%s key %q: a name without colons is needed", k.name, key.Name)
			}
			s, err := k.make(secret)
			if err != nil {
				return nil, fmt.Errorf("%s key %q: %w", k.name, key.Name, err)
			}
			all = append(all, sealed{anyPrefix + k.name + ":v1:" + key.Name + ":", s})
		}
	}
	if f.Identity != nil {
		kinds++
		all = append(all, sealed{"", identity{}})
	}
	if f.KMS != nil {
		return nil, fmt.Errorf("kms %q: key management services are not supported", f.KMS.Name)
	}
	if kinds != 1 {
		return nil, errors.New("exactly one of aesgcm, aescbc, secretbox and identity is needed")
	}
	return all, nil
}

// Transformer is what encrypts a resource, nil for nothing. It is what
// watchcache.Options.Transformer wants.
func (c *Config) Transformer(r *scheme.Resource) value.Transformer {
	for _, rule := range c.rules {
		for _, pattern := range rule.resources {
			if matches(pattern, r) {
				return rule.providers
			}
		}
	}
	return nil
}

// matches compares "secrets", "deployments.apps", "*.apps", "*." (the core
// group) and "*.*" with a resource.
func matches(pattern string, r *scheme.Resource) bool {
	name, group, dotted := strings.Cut(pattern, ".")
	if pattern == "*.*" {
		return true
	}
	if !dotted {
		return name == r.Plural && r.Group == ""
	}
	return group == r.Group && (name == "*" || name == r.Plural)
}
