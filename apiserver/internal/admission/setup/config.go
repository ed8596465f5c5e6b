package setup

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"xebec.dev/apiserver/internal/configfile"
)

type file struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Plugins    []pluginFile `json:"plugins"`
}

type pluginFile struct {
	Name string `json:"name"`
	// Path is of a file beside this one; Configuration is in place.
	Path          string          `json:"path,omitempty"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
}

// readConfig gives the configuration of each plugin that an
// AdmissionConfiguration file has one for.
func readConfig(path string, known []string) (map[string][]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f file
	if _, err := configfile.Decode(content, configfile.Group, "AdmissionConfiguration", []string{"v1", "v1alpha1"}, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := map[string][]byte{}
	for _, p := range f.Plugins {
		if !slices.Contains(known, p.Name) {
			return nil, fmt.Errorf("%s: %w", path, unknown(p.Name, known))
		}
		if _, ok := out[p.Name]; ok {
			return nil, fmt.Errorf("%s: plugin %q is there twice", path, p.Name)
		}
		text := []byte(p.Configuration)
		if len(text) == 0 && p.Path != "" {
			at := p.Path
			if !filepath.IsAbs(at) {
				at = filepath.Join(filepath.Dir(path), at)
			}
			if text, err = os.ReadFile(at); err != nil {
				return nil, fmt.Errorf("configuration of plugin %s: %w", p.Name, err)
			}
		}
		out[p.Name] = text
	}
	return out, nil
}
