package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// DecodeConfig reads a configuration of one kind, YAML or JSON, into out and
// gives the version it was in. A field that nobody knows is an error, not a
// setting that silently does not hold.
func DecodeConfig(content []byte, group, kind string, versions []string, out any) (version string, err error) {
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

// ReadConfig is DecodeConfig of a file.
func ReadConfig(path, group, kind string, versions []string, out any) (version string, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	version, err = DecodeConfig(content, group, kind, versions, out)
	if err != nil {
		return "", fmt.Errorf("configuration %s: %w", path, err)
	}
	return version, nil
}
