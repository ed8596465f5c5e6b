package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
)

func patchDir(t *testing.T, files map[string]string) *kubeadm.Patches {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &kubeadm.Patches{Directory: dir}
}

func contains(t *testing.T, file string, want ...string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if !strings.Contains(string(raw), w) {
			t.Errorf("%s has no %q:\n%s", file, w, raw)
		}
	}
	return string(raw)
}

func TestPatches(t *testing.T) {
	i, out := newInit(t)
	i.Config.Patches = patchDir(t, map[string]string{
		"kube-apiserver0+merge.yaml":        "metadata:\n  labels:\n    patched: a\n",
		"kube-apiserver1.yaml":              "spec:\n  containers:\n  - name: kube-apiserver\n    resources:\n      requests:\n        cpu: 111m\n",
		"kube-apiserver2+json.json":         `[{"op":"replace","path":"/metadata/labels/patched","value":"b"}]`,
		"kube-scheduler0+merge.yaml":        "metadata:\n  labels:\n    other: c\n---\nmetadata:\n  labels:\n    another: d\n",
		"kube-controller-manager+json.yaml": "- op: add\n  path: /spec/containers/0/command/-\n  value: --v=4\n",
		"etcd.json":                         `{"spec":{"containers":[{"name":"etcd","env":[{"name":"A","value":"b"}]}]}}`,
		"kubeletconfiguration.yaml":         "maxPods: 33\n",
		"notes.txt":                         "nothing",
		"kube-apisrver.yaml":                "metadata: {}\n",
	})
	run(t, i, "certs", "etcd", "control-plane", "kubelet-start")
	dir := i.path(layout.Manifests)
	contains(t, dir+"/kube-apiserver.yaml", "patched: b", "cpu: 111m", "- kube-apiserver\n", "path: /livez")
	contains(t, dir+"/kube-scheduler.yaml", "other: c", "another: d")
	contains(t, dir+"/kube-controller-manager.yaml", "- --v=4")
	contains(t, dir+"/etcd.yaml", "- name: A\n      value: b", "image: xebec.dev/etcd")
	contains(t, i.path(layout.KubeletConfig), "maxPods: 33", "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock", "clusterDomain: cluster.local")
	for _, want := range []string{"notes.txt is passed over", "kube-apisrver.yaml is passed over: unknown target", `Applied patch of type "json" to target "kube-apiserver"`, `to target "kubeletconfiguration"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nobody is told %q:\n%s", want, out)
		}
	}
}

// TestPatchOfCoreDNS goes to the Deployment alone, by the keys of its lists.
func TestPatchOfCoreDNS(t *testing.T) {
	i, out := newInit(t)
	if err := i.StartDryRun("init"); err != nil {
		t.Fatal(err)
	}
	i.Config.Patches = patchDir(t, map[string]string{"corednsdeployment+strategic.yaml": "spec:\n  replicas: 5\n  template:\n    spec:\n      containers:\n      - name: coredns\n        env: [{name: PATCHED, value: yes}]\n"})
	run(t, i, "addon")
	text := out.String()
	if !strings.Contains(text, "replicas: 5") || !strings.Contains(text, "name: PATCHED") || !strings.Contains(text, "image: xebec.dev/coredns") || strings.Count(text, "PATCHED") != 1 {
		t.Errorf("the Deployment of CoreDNS is not patched:\n%s", text)
	}
}

func TestPatchesThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"type":   {"etcd+replace.yaml", "a: b", `unknown patch type "replace"`},
		"YAML":   {"etcd.yaml", "a: b: c", "etcd.yaml"},
		"op":     {"etcd+json.yaml", "- op: remove\n  path: /nothing/here\n", "etcd+json.yaml"},
		"shape":  {"etcd+json.yaml", "a: b\n", "etcd+json.yaml"},
		"string": {"etcd.yaml", "spec: {containers: 3}", "patches of etcd"},
		"typo":   {"etcd+merge.yaml", "spec: {hostNetwrk: true}", "hostNetwrk"},
	} {
		i, _ := newInit(t)
		i.Config.Patches = patchDir(t, map[string]string{c.file: c.text})
		if err := i.RunPhase(t.Context(), "etcd"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
	i, _ := newInit(t)
	i.Config.Patches = &kubeadm.Patches{Directory: "/no/such/directory"}
	if err := i.RunPhase(t.Context(), "control-plane"); err == nil || !strings.Contains(err.Error(), "patches") {
		t.Errorf("%v", err)
	}
}

// TestRuntimeIsInTheConfiguration and not among the flags, which win.
func TestRuntimeIsInTheConfiguration(t *testing.T) {
	i, _ := newInit(t)
	i.Config.NodeRegistration.CRISocket = "unix:///run/other.sock"
	run(t, i, "certs", "kubelet-start")
	contains(t, i.path(layout.KubeletConfig), "containerRuntimeEndpoint: unix:///run/other.sock")
	raw, err := os.ReadFile(i.path(layout.KubeletFlags))
	if err != nil || strings.Contains(string(raw), "container-runtime-endpoint") {
		t.Errorf("flags %s: %v", raw, err)
	}
	if words := kubelet.ParseEnv(raw, "KUBELET_KUBEADM_ARGS"); len(words) == 0 {
		t.Errorf("flags %s", raw)
	}
	if got := i.Runtime(); got != "unix:///run/other.sock" {
		t.Errorf("the runtime that reset finds is %q", got)
	}
}
