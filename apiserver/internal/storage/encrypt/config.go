package encrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/encrypt/kms"
	"xebec.dev/apiserver/internal/storage/value"
)

// Config is an EncryptionConfiguration made ready.
type Config struct {
	rules []rule
	kms   []*kms.Provider
}

// Options are for the providers that ask a service.
type Options struct {
	Metrics *kms.Metrics
	// Changed, when set, is told that a service has another key now, or that
	// values can be read that could not.
	Changed func(recovered bool)
}

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
	KMS       *fileKMS  `json:"kms,omitempty"`
}

type fileKMS struct {
	APIVersion string           `json:"apiVersion,omitempty"`
	Name       string           `json:"name"`
	CacheSize  *int32           `json:"cachesize,omitempty"`
	Endpoint   string           `json:"endpoint"`
	Timeout    *metav1.Duration `json:"timeout,omitempty"`
}

type fileKeys struct {
	Keys []struct {
		Name   string `json:"name"`
		Secret string `json:"secret"`
	} `json:"keys"`
}

// Parse reads an EncryptionConfiguration. Close what it gives.
func Parse(text []byte, o Options) (*Config, error) {
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
	names := map[string]bool{}
	for i, g := range f.Resources {
		p, err := c.providers(g.Providers, names, o)
		if err == nil && len(g.Resources) == 0 {
			err = errors.New("no resources")
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
		c.rules = append(c.rules, rule{g.Resources, p})
	}
	return c, nil
}

// Close ends the connections to services.
func (c *Config) Close() {
	for _, p := range c.kms {
		p.Close()
	}
}

// Services reports whether there are services to ask.
func (c *Config) Services() bool { return len(c.kms) > 0 }

// Healthy asks all services.
func (c *Config) Healthy(ctx context.Context) error {
	var errs []error
	for _, p := range c.kms {
		errs = append(errs, p.Healthy(ctx))
	}
	return errors.Join(errs...)
}

func (c *Config) providers(list []fileProvider, names map[string]bool, o Options) (*Providers, error) {
	if len(list) == 0 {
		return nil, errors.New("no providers")
	}
	p := &Providers{}
	for i, f := range list {
		var all []sealed
		var err error
		if f.KMS == nil {
			all, err = f.seals()
		} else {
			all, err = c.service(&list[i], names, o)
		}
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
	if kinds != 1 {
		return nil, errOne
	}
	return all, nil
}

var errOne = errors.New("exactly one of aesgcm, aescbc, secretbox, kms and identity is needed")

// envelope fits a service to the methods.
type envelope struct{ *kms.Provider }

func (e envelope) encrypt(data []byte, path string) ([]byte, error) { return e.Encrypt(data, path) }
func (e envelope) decrypt(data []byte, path string) ([]byte, bool, error) {
	return e.Decrypt(data, path)
}

// defaultTimeout is that of one call of a service.
const defaultTimeout = 3 * time.Second

func (c *Config) service(f *fileProvider, names map[string]bool, o Options) ([]sealed, error) {
	k := f.KMS
	if f.AESGCM != nil || f.AESCBC != nil || f.Secretbox != nil || f.Identity != nil {
		return nil, errOne
	}
	if err := k.validate(names); err != nil {
		return nil, fmt.Errorf("kms %q: %w", k.Name, err)
	}
	timeout := defaultTimeout
	if k.Timeout != nil {
		timeout = k.Timeout.Duration
	}
	p, err := kms.New(kms.Options{Name: k.Name, Endpoint: k.Endpoint, Timeout: timeout, Metrics: o.Metrics, Changed: o.Changed})
	if err != nil {
		return nil, fmt.Errorf("kms %q: %w", k.Name, err)
	}
	c.kms = append(c.kms, p)
	return []sealed{{anyPrefix + "kms:v2:" + k.Name + ":", envelope{p}}}, nil
}

func (k *fileKMS) validate(names map[string]bool) error {
	switch {
	case k.APIVersion == "" || k.APIVersion == "v1":
		return errors.New("KMSv1 is deprecated and is not served: run a plugin of KMS v2 and set apiVersion: v2")
	case k.APIVersion != "v2":
		return fmt.Errorf("unsupported apiVersion %s for KMS provider, only v2 is supported", k.APIVersion)
	case k.Name == "":
		return errors.New("name is a mandatory field for a KMS provider")
	case strings.Contains(k.Name, ":"):
		return errors.New("name should not contain ':'")
	case names[k.Name]:
		return fmt.Errorf("duplicate KMS provider name %s, names must be unique", k.Name)
	case k.CacheSize != nil:
		return errors.New("cachesize is not supported in v2")
	case k.Timeout != nil && k.Timeout.Duration <= 0:
		return fmt.Errorf("timeout %s should be a positive value", k.Timeout.Duration)
	}
	names[k.Name] = true
	_, err := kms.ParseEndpoint(k.Endpoint)
	return err
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
