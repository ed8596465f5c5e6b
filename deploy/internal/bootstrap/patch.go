package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/kubeadm"
)

// Targets of patches, by kubeadm's names.
const (
	targetKubelet = "kubeletconfiguration"
	targetDNS     = "corednsdeployment"
)

// patchTargets have the type that a strategic patch follows; nil is a kind
// whose lists have no keys, so that one is a merge patch.
var patchTargets = map[string]any{
	"etcd": corev1.Pod{}, "kube-apiserver": corev1.Pod{}, "kube-controller-manager": corev1.Pod{}, "kube-scheduler": corev1.Pod{},
	targetKubelet: nil, targetDNS: appsv1.Deployment{},
}

// Patches are the files of a directory, by their names.
type Patches struct {
	files []patchFile
	say   func(phase, format string, args ...any)
}

type patchFile struct {
	path, target, kind string
	docs               [][]byte
}

// patches reads the directory that a configuration names, if it does. A file
// that is a patch for nothing known is told; one of a type that is not known
// is an error.
func (n *Node) patches(c *kubeadm.Patches) (*Patches, error) {
	p := &Patches{say: n.say}
	if c == nil || c.Directory == "" {
		return p, nil
	}
	entries, err := os.ReadDir(c.Directory) // in the order of their names
	if err != nil {
		return nil, fmt.Errorf("patches: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		f, warning, err := parsePatchName(e.Name())
		if err != nil {
			return nil, fmt.Errorf("patches: %w", err)
		}
		f.path = filepath.Join(c.Directory, e.Name())
		if warning != "" {
			n.say("patches", "WARNING: %s is passed over: %s", f.path, warning)
			continue
		}
		raw, err := os.ReadFile(f.path)
		if err != nil {
			return nil, err
		}
		if f.docs, err = patchDocuments(raw); err != nil {
			return nil, fmt.Errorf("patch %s: %w", f.path, err)
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

// parsePatchName reads TARGET[SUFFIX][+TYPE].EXTENSION.
func parsePatchName(name string) (f patchFile, warning string, err error) {
	base, ok := strings.CutSuffix(name, ".json")
	if !ok {
		if base, ok = strings.CutSuffix(name, ".yaml"); !ok {
			return f, "its extension is neither .json nor .yaml", nil
		}
	}
	base, f.kind, ok = strings.Cut(base, "+")
	if !ok {
		f.kind = "strategic"
	}
	if !slices.Contains([]string{"strategic", "merge", "json"}, f.kind) {
		return f, "", fmt.Errorf("file %q: unknown patch type %q, must be one of json, merge, strategic", name, f.kind)
	}
	for target := range patchTargets {
		if strings.HasPrefix(base, target) {
			f.target = target
			return f, "", nil
		}
	}
	return f, "unknown target, must be one of etcd, kube-apiserver, kube-controller-manager, kube-scheduler, " + targetKubelet + ", " + targetDNS, nil
}

// patchDocuments are the patches of a file, which may have several.
func patchDocuments(raw []byte) ([][]byte, error) {
	var out [][]byte
	for doc := range strings.SplitSeq("\n"+string(raw), "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		j, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			return nil, err
		}
		if string(j) != "null" {
			out = append(out, j)
		}
	}
	return out, nil
}

// apply is a document of YAML after the patches for it, unchanged if there are none.
func (p *Patches) apply(target string, document []byte) ([]byte, error) {
	var doc []byte
	for _, f := range p.files {
		if f.target != target {
			continue
		}
		if doc == nil {
			var err error
			if doc, err = yaml.YAMLToJSON(document); err != nil {
				return nil, err
			}
		}
		for _, patch := range f.docs {
			var err error
			if doc, err = patchOne(doc, patch, f.kind, patchTargets[target]); err != nil {
				return nil, fmt.Errorf("patch %s: %w", f.path, err)
			}
		}
		p.say("patches", "Applied patch of type %q to target %q", f.kind, target)
	}
	if doc == nil {
		return document, nil
	}
	return yaml.JSONToYAML(doc)
}

// applyMap is apply to a value.
func (p *Patches) applyMap(target string, value map[string]any) (map[string]any, error) {
	raw, err := yaml.Marshal(value)
	if err != nil {
		return nil, err
	}
	if raw, err = p.apply(target, raw); err != nil {
		return nil, err
	}
	var out map[string]any
	return out, yaml.Unmarshal(raw, &out)
}

func patchOne(doc, patch []byte, kind string, of any) ([]byte, error) {
	switch {
	case kind == "json":
		ops, err := jsonpatch.DecodePatch(patch)
		if err != nil {
			return nil, err
		}
		return ops.Apply(doc)
	case kind == "merge" || of == nil:
		return jsonpatch.MergePatch(doc, patch)
	}
	return strategicpatch.StrategicMergePatch(doc, patch, of)
}
