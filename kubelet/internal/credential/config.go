// Package credential asks programs for the credentials of images: those that
// the node's owner has installed, by the protocol of
// credentialprovider.kubelet.k8s.io. Answers are kept for as long as they say.
package credential

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"xebec.dev/kubelet/internal/image"
)

// Group of the protocol, and versions of it that are alike.
const protocol = "credentialprovider.kubelet.k8s.io"

var (
	protocols = []string{protocol + "/v1", protocol + "/v1beta1", protocol + "/v1alpha1"}
	configs   = []string{"kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1", "kubelet.config.k8s.io/v1alpha1"}
)

// Config is CredentialProviderConfig.
type Config struct {
	metav1.TypeMeta `json:",inline"`
	Providers       []Provider `json:"providers"`
}

// Provider is one program.
type Provider struct {
	Name         string           `json:"name"`
	MatchImages  []string         `json:"matchImages"`
	DefaultCache *metav1.Duration `json:"defaultCacheDuration"`
	APIVersion   string           `json:"apiVersion"`
	Args         []string         `json:"args,omitempty"`
	Env          []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env,omitempty"`
	TokenAttributes map[string]any `json:"tokenAttributes,omitempty"`
}

// Load reads a configuration and makes sure that its programs are there. path
// is a file, or a directory whose files are read in the order of their names.
func Load(path, binDir string, o Options) (*Programs, error) {
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("--image-credential-provider-config: %w", err)
	} else if info.IsDir() {
		if files, err = configFiles(path); err != nil {
			return nil, fmt.Errorf("--image-credential-provider-config: %w", err)
		}
	}
	all := &Programs{o: o}
	names := map[string]bool{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("--image-credential-provider-config: %w", err)
		}
		c, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		for _, p := range c.Providers {
			if names[p.Name] {
				return nil, fmt.Errorf("%s: providers: the name %q is there twice", f, p.Name)
			}
			names[p.Name] = true
			program := filepath.Join(binDir, p.Name)
			if info, err := os.Stat(program); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
				return nil, fmt.Errorf("%s: provider %s: %s is no program: install it there, or set --image-credential-provider-bin-dir", f, p.Name, program)
			}
			all.list = append(all.list, newProgram(p, program))
		}
	}
	return all, nil
}

func configFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, ext) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no file *.yaml, *.yml or *.json", dir)
	}
	return out, nil
}

// parse reads one configuration, strictly.
func parse(raw []byte) (*Config, error) {
	c := &Config{}
	if err := yaml.UnmarshalStrict(bytes.TrimSpace(raw), c); err != nil {
		return nil, err
	}
	if c.Kind != "CredentialProviderConfig" || !slices.Contains(configs, c.APIVersion) {
		return nil, fmt.Errorf("apiVersion %q, kind %q: expected CredentialProviderConfig of %s", c.APIVersion, c.Kind, configs[0])
	}
	var errs field.ErrorList
	at := field.NewPath("providers")
	if len(c.Providers) == 0 {
		errs = append(errs, field.Required(at, "at least 1 item in plugins is required"))
	}
	for i := range c.Providers {
		errs = append(errs, c.Providers[i].validate(at.Index(i))...)
	}
	return c, errs.ToAggregate()
}

func (p *Provider) validate(at *field.Path) (errs field.ErrorList) {
	switch name := p.Name; {
	case name == "":
		errs = append(errs, field.Required(at.Child("name"), "name is required"))
	case strings.ContainsAny(name, "/ "), name == ".", name == "..":
		errs = append(errs, field.Invalid(at.Child("name"), name, "name must be that of a file, without spaces or slashes"))
	}
	if !slices.Contains(protocols, p.APIVersion) {
		errs = append(errs, field.NotSupported(at.Child("apiVersion"), p.APIVersion, protocols))
	}
	if len(p.MatchImages) == 0 {
		errs = append(errs, field.Required(at.Child("matchImages"), "at least 1 item in matchImages is required"))
	}
	for i, m := range p.MatchImages {
		if _, err := image.Matches(m, "docker.io/library/any"); err != nil {
			errs = append(errs, field.Invalid(at.Child("matchImages").Index(i), m, err.Error()))
		}
	}
	switch d := p.DefaultCache; {
	case d == nil:
		errs = append(errs, field.Required(at.Child("defaultCacheDuration"), "defaultCacheDuration is required"))
	case d.Duration < 0:
		errs = append(errs, field.Invalid(at.Child("defaultCacheDuration"), d.Duration.String(), "defaultCacheDuration must be greater than or equal to 0"))
	}
	if len(p.TokenAttributes) > 0 {
		errs = append(errs, field.Forbidden(at.Child("tokenAttributes"), "this kubelet gives programs no tokens of service accounts"))
	}
	return errs
}

// Options of programs; the zero value works.
type Options struct {
	// Ran is told of each run.
	Ran func(name string, took time.Duration, err error)
	Now func() time.Time
}
