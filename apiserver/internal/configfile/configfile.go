// Package configfile reads configuration files of versioned kinds strictly: a
// field nobody knows is an error, not a rule that silently does not hold.
package configfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Group is the API group of the API server's own files.
const Group = "apiserver.config.k8s.io"

// Decode reads YAML or JSON of one kind at one of some versions into out, and
// gives the version.
func Decode(content []byte, group, kind string, versions []string, out any) (version string, err error) {
	raw, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return "", err
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil {
		return "", err
	}
	gv, err := schema.ParseGroupVersion(head.APIVersion)
	if err != nil {
		return "", err
	}
	if head.Kind != kind || gv.Group != group || !slices.Contains(versions, gv.Version) {
		return "", fmt.Errorf("no kind %q is registered for version %q, want %s of %s/%s", head.Kind, head.APIVersion, kind, group, strings.Join(versions, ", "))
	}
	strict, err := json.UnmarshalStrict(raw, out)
	if err != nil {
		return "", err
	}
	if len(strict) > 0 {
		return "", fmt.Errorf("strict decoding error: %w", errors.Join(strict...))
	}
	return gv.Version, nil
}
