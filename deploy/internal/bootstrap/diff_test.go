package bootstrap

import (
	"math/rand/v2"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
)

func TestUnified(t *testing.T) {
	before := "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n"
	after := "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl2\nl3\nm"
	var b strings.Builder
	for _, context := range []int{0, 1, 3, 100} {
		b.WriteString(unified("old", "new", []byte(before), []byte(after), context))
	}
	b.WriteString(unified("old", "new", nil, []byte("x\n"), 3))
	b.WriteString(unified("old", "new", []byte("x\n"), nil, 3))
	golden.Check(t, "unified.txt", []byte(b.String()))
	if got := unified("old", "new", []byte(before), []byte(before), 3); got != "" {
		t.Errorf("equal texts differ:\n%s", got)
	}
}

// TestComparedTextsComeBack: of what a comparison says, both texts are made
// again, and it keeps as many lines as texts have in common at least.
func TestComparedTextsComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() []string {
		out := make([]string, r.IntN(12))
		for i := range out {
			out[i] = string(rune('a'+r.IntN(4))) + "\n"
		}
		return out
	}
	for range 2000 {
		before, after := random(), random()
		var old, next strings.Builder
		for _, e := range compare(before, after) {
			if e.op != '+' {
				old.WriteString(e.text)
			}
			if e.op != '-' {
				next.WriteString(e.text)
			}
		}
		if old.String() != strings.Join(before, "") || next.String() != strings.Join(after, "") {
			t.Fatalf("%q %q: %v", before, after, compare(before, after))
		}
	}
}

// TestUpgradeDiff: another version changes the images, and what a person has
// changed in a manifest is told; the same version changes nothing.
func TestUpgradeDiff(t *testing.T) {
	i, _ := newInit(t)
	run(t, i, "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start")
	open := func() *Upgrade {
		u := &Upgrade{Init: &Init{Node: i.Node, Cluster: i.Cluster, Config: &kubeadm.InitConfiguration{}}, plane: true}
		if err := u.findNode(); err != nil {
			t.Fatal(err)
		}
		return u
	}
	if text, err := open().Diff(t.Context(), i.Cluster.KubernetesVersion, 3); err != nil || text != "" {
		t.Errorf("nothing was to change: %v\n%s", err, text)
	}
	text, err := open().Diff(t.Context(), "v1.37.9+xebec.4", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--- " + i.path("/etc/kubernetes/manifests/kube-apiserver.yaml") + "\n+++ new manifest\n", "\n-    image: xebec.dev/kube-scheduler:v1.37.2\n+    image: xebec.dev/kube-scheduler:v1.37.9\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "etcd.yaml") || strings.Count(text, "\n-    image: ") != 3 || strings.Count(text, "\n+    ") != 3 {
		t.Errorf("more than three images change:\n%s", text)
	}
}
