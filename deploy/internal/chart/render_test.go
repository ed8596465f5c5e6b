package chart

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	files "xebec.dev/deploy/chart"
	"xebec.dev/deploy/internal/golden"
)

var release = Release{Name: "xebec", Namespace: "kube-system"}

// cases are values by name; the golden files and Helm itself must agree on
// all of them.
var cases = map[string]map[string]any{
	"default": {},
	"cluster": {
		"proxy": map[string]any{"server": "https://10.0.0.1:6443", "clusterCIDR": "10.244.0.0/16", "mode": "iptables"},
		"dns":   map[string]any{"domain": "example.internal", "clusterIP": "10.97.0.10", "replicas": 1.0, "image": "r.example/coredns:v1"},
	},
	"hosted": {
		"proxy": map[string]any{"enabled": false}, "dns": map[string]any{"enabled": false},
		"controlPlane": map[string]any{"enabled": true, "extraArgs": map[string]any{"apiserver": []any{"--v=4"}}},
	},
	"hosted-external-etcd": {
		"proxy": map[string]any{"enabled": false}, "dns": map[string]any{"enabled": false},
		"controlPlane": map[string]any{"enabled": true, "etcd": map[string]any{"servers": "https://etcd.example:2379"}},
	},
	"own-configurations": {
		"proxy": map[string]any{"config": map[string]any{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables"}},
		"dns":   map[string]any{"corefile": ".:53 {\n    errors\n}\n"},
	},
}

func chartFiles(t *testing.T) fs.FS {
	t.Helper()
	sub, err := fs.Sub(files.Files, "xebec")
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestRender(t *testing.T) {
	for name, values := range cases {
		objects, err := Render(chartFiles(t), release, values)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var b bytes.Buffer
		for _, o := range objects {
			raw, err := sigsyaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("---\n")
			b.Write(raw)
		}
		golden.Check(t, name+".yaml", b.Bytes())
	}
}

// TestRenderIsHelms: what is rendered here is what Helm renders, and Helm's
// own check of the chart has nothing to say.
func TestRenderIsHelms(t *testing.T) {
	helm, err := filepath.Abs("../../../bin/helm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(helm); err != nil {
		t.Fatalf("%v (make helm makes it)", err)
	}
	chart := "../../chart/xebec"
	if out, err := exec.Command(helm, "lint", "--strict", chart).CombinedOutput(); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	for name, values := range cases {
		raw, err := sigsyaml.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(helm, "template", release.Name, chart, "-n", release.Namespace, "-f", "-")
		cmd.Stdin = bytes.NewReader(raw)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: helm template: %v\n%s", name, err, &stderr)
		}
		theirs, err := documents(out)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := Render(chartFiles(t), release, values)
		if err != nil {
			t.Fatal(err)
		}
		// Helm sorts by kind.
		compare(t, name, byName(ours), byName(theirs))
	}
}

func byName(objects []map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, o := range objects {
		meta := o["metadata"].(map[string]any)
		out[o["kind"].(string)+" "+meta["name"].(string)] = o
	}
	return out
}

func compare(t *testing.T, name string, ours, theirs map[string]map[string]any) {
	t.Helper()
	if len(ours) != len(theirs) || len(ours) == 0 {
		t.Errorf("%s: %d objects, Helm has %d", name, len(ours), len(theirs))
	}
	for k, o := range ours {
		if !reflect.DeepEqual(o, theirs[k]) {
			t.Errorf("%s: %s is\n%v\nby Helm\n%v", name, k, o, theirs[k])
		}
	}
}

func TestValuesThatNoTemplateReads(t *testing.T) {
	_, err := Render(chartFiles(t), release, map[string]any{"proxy": map[string]any{"mod": "ipvs"}})
	if err == nil || !strings.Contains(err.Error(), "values.proxy.mod: the chart has no such value") {
		t.Errorf("%v", err)
	}
}

func TestAdopt(t *testing.T) {
	objects, err := Render(chartFiles(t), release, nil)
	if err != nil {
		t.Fatal(err)
	}
	Adopt(objects, release)
	for _, o := range objects {
		meta := o["metadata"].(map[string]any)
		a := meta["annotations"].(map[string]any)
		if a["meta.helm.sh/release-name"] != "xebec" || a["meta.helm.sh/release-namespace"] != "kube-system" ||
			meta["labels"].(map[string]any)["app.kubernetes.io/managed-by"] != "Helm" {
			t.Errorf("Helm would not take %v %v over", o["kind"], meta["name"])
		}
	}
}
