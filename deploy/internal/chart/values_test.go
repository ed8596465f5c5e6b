package chart

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"
)

// at is a value by its path, as a map that lays it over the others.
func at(path string, v any) map[string]any {
	names := strings.Split(path, ".")
	for _, name := range slices.Backward(names) {
		v = map[string]any{name: v}
	}
	return v.(map[string]any)
}

// leaves are the paths of all values. An empty map is one: anything may be in it.
func leaves(m map[string]any, above string) []string {
	var out []string
	for k, v := range m {
		if sub, ok := v.(map[string]any); ok && len(sub) > 0 {
			out = append(out, leaves(sub, above+k+".")...)
		} else {
			out = append(out, above+k)
		}
	}
	slices.Sort(out)
	return out
}

// others are a second value for every value of the chart; one that is not the
// only one to be given has its condition before a blank.
var others = map[string]any{
	"imageRepository": "r.example/x", "imagePullPolicy": "Always",
	"proxy.enabled": false, "proxy.image": "r.example/p:v1", "proxy.tag": "v9", "proxy.mode": "ipvs", "proxy.clusterCIDR": "10.9.0.0/16",
	"proxy.podNetwork": "none", "proxy.server": "https://api.example:6443", "proxy.config": map[string]any{"kind": "KubeProxyConfiguration"}, "proxy.libModules": "/lib/modules",
	"dns.enabled": false, "dns.image": "r.example/d:v1", "dns.tag": "v9", "dns.replicas": 3.0, "dns.domain": "other.local", "dns.clusterIP": "10.9.0.10",
	"dns.upstream": "192.0.2.53", "dns.corefile": ". {\n}\n", "dns.resources.requests.cpu": "7m", "dns.resources.requests.memory": "7Mi", "dns.resources.limits.memory": "77Mi",
	"controlPlane.enabled": false, "controlPlane.tag": "v9", "controlPlane.etcdTag": "v9", "controlPlane.secret": "other", "controlPlane.replicas": 3.0,
	"controlPlane.serviceType": "NodePort", "controlPlane.port": 7443.0, "controlPlane.serviceSubnet": "10.9.0.0/16", "controlPlane.podSubnet": "10.8.0.0/16", "controlPlane.dnsDomain": "other.local",
	"controlPlane.extraArgs.apiserver": []any{"--v=1"}, "controlPlane.extraArgs.controllerManager": []any{"--v=2"}, "controlPlane.extraArgs.scheduler": []any{"--v=3"}, "controlPlane.extraArgs.etcd": []any{"--log-level=debug"},
	"controlPlane.etcd.servers": "https://e.example:2379", "controlPlane.etcd.storage": "9Gi", "controlPlane.etcd.storageClass": "fast", "controlPlane.etcd.persistent": false,
}

// TestEveryValueHasAnEffect, and the schema takes it.
func TestEveryValueHasAnEffect(t *testing.T) {
	var own map[string]any
	if err := readYAML(chartFiles(t), "values.yaml", &own); err != nil {
		t.Fatal(err)
	}
	all := at("controlPlane.enabled", true)
	before, err := Render(chartFiles(t), release, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range leaves(own, "") {
		other, ok := others[path]
		if !ok {
			t.Errorf("values.yaml has %s: this test has no second value for it", path)
			continue
		}
		after, err := Render(chartFiles(t), release, overlay(all, at(path, other)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if reflect.DeepEqual(before, after) {
			t.Errorf("%s=%v changes nothing", path, other)
		}
	}
	if n := len(leaves(own, "")); n != len(others) {
		t.Errorf("values.yaml has %d values, this test %d", n, len(others))
	}
	merged := map[string]any{}
	for path, v := range others {
		merged = overlay(merged, at(path, v))
	}
	if out, err := helmTemplate(t, merged); err != nil {
		t.Errorf("Helm refuses second values: %v\n%s", err, out)
	}
}

func helmTemplate(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	helm, err := filepath.Abs("../../../bin/helm")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sigsyaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(helm, "template", "x", "../../chart/xebec", "-f", file).CombinedOutput()
	return string(out), err
}

// TestSchema has all values, and Helm refuses what is misspelt, or of another
// kind, by it.
func TestSchema(t *testing.T) {
	var own map[string]any
	if err := readYAML(chartFiles(t), "values.yaml", &own); err != nil {
		t.Fatal(err)
	}
	raw, err := fs.ReadFile(chartFiles(t), "values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	closed(t, "values", schema, own)
	for _, bad := range []struct {
		path string
		v    any
	}{{"imageRepostory", "x"}, {"proxy.mod", "ipvs"}, {"dns.replica", 1.0}, {"controlPlane.extraArgs.apiServer", []any{"--v=1"}}, {"controlPlane.etcd.storageclass", "x"},
		{"proxy.mode", "userspace"}, {"dns.replicas", "two"}, {"dns.replicas", -1.0}, {"controlPlane.port", 0.0}, {"controlPlane.serviceType", "ExternalName"}, {"proxy.enabled", "yes"},
		{"controlPlane.extraArgs.etcd", "--v=1"}, {"proxy.server", "10.0.0.1:6443"}, {"imagePullPolicy", "Sometimes"}, {"dns.resources.request", map[string]any{}}} {
		out, err := helmTemplate(t, at(bad.path, bad.v))
		name := bad.path[strings.LastIndexByte(bad.path, '.')+1:]
		if err == nil || !strings.Contains(out, name) {
			t.Errorf("%s=%v: %v: expected Helm to name %q\n%s", bad.path, bad.v, err, name, out)
		}
	}
}

// closed sees to it that a schema has the values of the chart and takes no others.
func closed(t *testing.T, at string, schema, own map[string]any) {
	t.Helper()
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema takes any name", at)
	}
	properties, _ := schema["properties"].(map[string]any)
	for k, v := range own {
		p, ok := properties[k].(map[string]any)
		if !ok {
			t.Errorf("%s.%s is not in the schema", at, k)
			continue
		}
		// What is open in the chart, and quantities of resources, take any name.
		if sub, isMap := v.(map[string]any); isMap && len(sub) > 0 && k != "requests" && k != "limits" {
			closed(t, fmt.Sprint(at, ".", k), p, sub)
		}
	}
}
