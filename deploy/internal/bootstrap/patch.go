package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// patchName is TARGET[SUFFIX][+TYPE].EXTENSION, as kubeadm has it.
var patchName = regexp.MustCompile(`^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler)([^.+]*?)(?:\+(strategic|merge|json))?\.(json|yaml)$`)

// patched is a manifest after the patches for it, in the order of their names.
func (i *Init) patched(name string, manifest []byte) ([]byte, error) {
	if i.Config.Patches == nil || i.Config.Patches.Directory == "" {
		return manifest, nil
	}
	entries, err := os.ReadDir(i.Config.Patches.Directory)
	if err != nil {
		return nil, fmt.Errorf("patches: %w", err)
	}
	sort.Slice(entries, func(a, b int) bool { return entries[a].Name() < entries[b].Name() })
	doc, err := yaml.YAMLToJSON(manifest)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, e := range entries {
		m := patchName.FindStringSubmatch(e.Name())
		if m == nil || m[1] != name {
			continue
		}
		file := filepath.Join(i.Config.Patches.Directory, e.Name())
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if doc, err = patchOne(doc, raw, m[3]); err != nil {
			return nil, fmt.Errorf("patch %s: %w", file, err)
		}
		i.say("patches", "Applied patch of type %q to target %q", orStrategic(m[3]), name)
		changed = true
	}
	if !changed {
		return manifest, nil
	}
	return yaml.JSONToYAML(doc)
}

func orStrategic(kind string) string {
	if kind == "" {
		return "strategic"
	}
	return kind
}

func patchOne(doc, patch []byte, kind string) ([]byte, error) {
	p, err := yaml.YAMLToJSON(patch)
	if err != nil {
		return nil, err
	}
	switch orStrategic(kind) {
	case "merge":
		return jsonpatch.MergePatch(doc, p)
	case "json":
		ops, err := jsonpatch.DecodePatch(p)
		if err != nil {
			return nil, err
		}
		return ops.Apply(doc)
	}
	return strategicpatch.StrategicMergePatch(doc, p, corev1.Pod{})
}
