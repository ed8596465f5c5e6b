package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
)

const web = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: kube-system}
spec:
  priorityClassName: system-node-critical
  hostNetwork: true
  containers: [{name: c, image: i, livenessProbe: {httpGet: {port: probe-port, path: /livez}}, ports: [{name: probe-port, containerPort: 6443}]}]
`

func TestParse(t *testing.T) {
	p, err := Parse([]byte(web), "/etc/kubernetes/manifests/web.yaml", "node1")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "web-node1" || p.Spec.NodeName != "node1" || !runtime.IsStatic(p) || runtime.IsMirror(p) || len(p.UID) != 32 || p.Annotations[runtime.ConfigHash] != string(p.UID) {
		t.Errorf("%v", p.ObjectMeta)
	}
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways || *p.Spec.TerminationGracePeriodSeconds != 30 || *p.Spec.Priority != 2000001000 || p.Spec.Containers[0].Ports[0].HostPort != 6443 {
		t.Errorf("defaults are missing: %v", p.Spec)
	}
	again, err := Parse([]byte(web), "/etc/kubernetes/manifests/web.yaml", "node1")
	if err != nil || again.UID != p.UID {
		t.Errorf("the same manifest is another pod: %v", err)
	}
	other, err := Parse([]byte(strings.ReplaceAll(web, "image: i", "image: j")), "/etc/kubernetes/manifests/web.yaml", "node1")
	if err != nil || other.UID == p.UID {
		t.Errorf("another manifest is the same pod: %v", err)
	}
}

// Manifests come from people: each mistake is told, none hurts.
func TestParseMistakes(t *testing.T) {
	head := "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: "
	for given, want := range map[string]string{
		"":  "only a Pod of v1 can be static",
		"{": "decode",
		"kind: Deployment\napiVersion: apps/v1\n":                                                     "only a Pod of v1",
		head + "{containers: []}\n":                                                                   "spec.containers: Required value",
		head + "{containers: [{name: c, image: i, imagePolicy: x}]}\n":                                `unknown field "imagePolicy"`,
		head + "{serviceAccountName: s, containers: [{name: c, image: i}]}\n":                         "spec.serviceAccountName: Forbidden",
		head + "{volumes: [{name: v, secret: {secretName: s}}], containers: [{name: c, image: i}]}\n": "spec.volumes[0]: Forbidden: use hostPath, emptyDir or downwardAPI",
	} {
		if _, err := Parse([]byte(given), "f", "n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", given, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(web))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := Parse(raw, "f", "n"); err == nil && (p.Name == "" || p.UID == "") {
			t.Errorf("%q has no name", raw)
		}
	})
}

// Pods come and go with their files, at once.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	heard := make(chan []*corev1.Pod, 100)
	s := &Static{Path: dir, Node: "n", Every: time.Hour, Set: func(p []*corev1.Pod) { heard <- p }, Log: zap.NewNop()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	until := func(what string, f func([]*corev1.Pod) bool) {
		t.Helper()
		for end := time.After(30 * time.Second); ; {
			select {
			case p := <-heard:
				if f(p) {
					return
				}
			case <-end:
				t.Fatal("never heard of ", what)
			}
		}
	}
	until("nothing", func(p []*corev1.Pod) bool { return len(p) == 0 })
	path := filepath.Join(dir, "web.yaml")
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, web)
	until("a pod", func(p []*corev1.Pod) bool { return len(p) == 1 })
	write(filepath.Join(dir, ".hidden.yaml"), strings.ReplaceAll(web, "name: web", "name: hidden"))
	write(filepath.Join(dir, "twice.yaml"), web)
	write(filepath.Join(dir, "other.yaml"), strings.ReplaceAll(web, "name: web", "name: other"))
	until("two pods", func(p []*corev1.Pod) bool { return len(p) == 2 })
	// A file that is broken for a moment does not end its pod.
	write(path, "kind: [")
	write(filepath.Join(dir, "third.yaml"), strings.ReplaceAll(web, "name: web", "name: third"))
	until("three pods", func(p []*corev1.Pod) bool { return len(p) == 3 })
	for _, f := range []string{path, filepath.Join(dir, "twice.yaml"), filepath.Join(dir, "other.yaml")} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	until("one pod", func(p []*corev1.Pod) bool { return len(p) == 1 && p[0].Name == "third-n" })
	cancel()
	<-done
}
