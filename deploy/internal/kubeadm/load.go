package kubeadm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// File is the content of a --config file: several documents, each of a kind
// at most once.
type File struct {
	Cluster *ClusterConfiguration
	Init    *InitConfiguration
	Join    *JoinConfiguration
	Reset   *ResetConfiguration
	Upgrade *UpgradeConfiguration
	// Kubelet and Proxy are the KubeletConfiguration and KubeProxyConfiguration
	// documents: the daemons check them, here they are only merged and passed on.
	Kubelet map[string]any
	Proxy   map[string]any
}

// LoadFile reads a configuration file.
func LoadFile(path string) (*File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	f, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return f, nil
}

// Decode reads documents strictly: a field that the kind does not have, or
// that is there twice, is an error.
func Decode(raw []byte) (*File, error) {
	f := &File{}
	r := yaml.NewYAMLReader(newReader(raw))
	seen := map[string]bool{}
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if blank(doc) {
			continue
		}
		var meta metav1.TypeMeta
		if err := sigsyaml.Unmarshal(doc, &meta); err != nil {
			return nil, err
		}
		if seen[meta.Kind] {
			return nil, fmt.Errorf("there are two documents of kind %s: one is allowed", meta.Kind)
		}
		seen[meta.Kind] = true
		if err := f.add(meta, doc); err != nil {
			return nil, err
		}
	}
	if len(seen) == 0 {
		return nil, errors.New("it has no documents: expected kinds of " + APIVersion)
	}
	return f, nil
}

func (f *File) add(meta metav1.TypeMeta, doc []byte) error {
	var into any
	want := APIVersion
	switch meta.Kind {
	case "ClusterConfiguration":
		f.Cluster = &ClusterConfiguration{}
		into = f.Cluster
	case "InitConfiguration":
		f.Init = &InitConfiguration{}
		into = f.Init
	case "JoinConfiguration":
		f.Join = &JoinConfiguration{}
		into = f.Join
	case "ResetConfiguration":
		f.Reset = &ResetConfiguration{}
		into = f.Reset
	case "UpgradeConfiguration":
		f.Upgrade = &UpgradeConfiguration{}
		into = f.Upgrade
	case "KubeletConfiguration":
		into, want = &f.Kubelet, "kubelet.config.k8s.io/v1beta1"
	case "KubeProxyConfiguration":
		into, want = &f.Proxy, "kubeproxy.config.k8s.io/v1alpha1"
	default:
		return fmt.Errorf("kind %q of %q is not known: expected ClusterConfiguration, InitConfiguration, JoinConfiguration, ResetConfiguration, UpgradeConfiguration, KubeletConfiguration or KubeProxyConfiguration", meta.Kind, meta.APIVersion)
	}
	if meta.APIVersion != want {
		return fmt.Errorf("%s has apiVersion %q: expected %s", meta.Kind, meta.APIVersion, want)
	}
	raw, err := sigsyaml.YAMLToJSONStrict(doc)
	if err != nil {
		return fmt.Errorf("%s: %w", meta.Kind, err)
	}
	strict, err := json.UnmarshalStrict(raw, into)
	if err = errors.Join(append(strict, err)...); err != nil {
		return fmt.Errorf("%s: %w", meta.Kind, err)
	}
	return nil
}

// Print writes documents as YAML, separated by ---.
func Print(docs ...any) ([]byte, error) {
	var out bytes.Buffer
	for i, d := range docs {
		raw, err := sigsyaml.Marshal(d)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(raw)
	}
	return out.Bytes(), nil
}

func blank(doc []byte) bool {
	for line := range strings.Lines(string(doc)) {
		if t := strings.TrimSpace(line); t != "" && t != "---" && !strings.HasPrefix(t, "#") {
			return false
		}
	}
	return true
}
