package kubelet

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
)

func TestConfigurations(t *testing.T) {
	c := &kubeadm.ClusterConfiguration{}
	c.Default()
	shared, err := Shared(c, true, map[string]any{"maxPods": 20.0, "authentication": map[string]any{"anonymous": map[string]any{"enabled": true}}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Marshal(shared)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "shared.yaml", raw)
	if raw, err = Marshal(Local(shared, Options{Root: "/run/n1", CgroupRoot: "/n1", ResolvConf: "/run/n1/resolv.conf"})); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "local.yaml", raw)
	if again, err := Marshal(shared); err != nil || string(again) == string(raw) {
		t.Errorf("what all nodes share was changed: %v", err)
	}
}

func TestFlags(t *testing.T) {
	n := &kubeadm.NodeRegistration{Name: "n1", CRISocket: "unix:///run/x.sock",
		Taints:           []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}, {Key: "b", Value: "c", Effect: corev1.TaintEffectNoExecute}},
		KubeletExtraArgs: []kubeadm.Arg{{Name: "node-ip", Value: "10.0.0.1"}, {Name: "cert-dir", Value: "/mine"}}}
	env := Env(Flags(n, "HOST", Options{Root: "/run/n1"}))
	golden.Check(t, "kubeadm-flags.env", env)
	words := ParseEnv(env, "KUBELET_KUBEADM_ARGS")
	if !slices.Contains(words, "--hostname-override=n1") || !slices.Contains(words, "--cert-dir=/mine") || slices.Contains(words, "--cert-dir=/run/n1/var/lib/kubelet/pki") {
		t.Errorf("words %v", words)
	}
	plain := Flags(&kubeadm.NodeRegistration{Name: "host", CRISocket: "s"}, "HOST", Options{Root: "/"})
	if len(plain) != 0 {
		t.Errorf("a plain node has the flags %v", plain)
	}
}

func TestDNSAddress(t *testing.T) {
	for in, want := range map[string]string{"10.96.0.0/12": "10.96.0.10", "fd00:2::/112": "fd00:2::a", "10.1.0.0/16,fd00::/112": "10.1.0.10"} {
		if got, err := DNSAddress(in); err != nil || got != want {
			t.Errorf("%s: %s %v, expected %s", in, got, err, want)
		}
	}
	for _, in := range []string{"10.0.0.0/30", "x"} {
		if got, err := DNSAddress(in); err == nil {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// TestRuntimeOfAnInstance: reset finds the runtime that init was told.
func TestRuntimeOfAnInstance(t *testing.T) {
	const socket = "unix:///run/xebec/containerd/containerd.sock"
	if got := InstanceSocket(Instance(socket)); got != socket {
		t.Errorf("the runtime is at %q", got)
	}
	for _, odd := range []string{"", "kind: x", "[", "containerRuntimeEndpoint: [1]"} {
		if got := InstanceSocket([]byte(odd)); got != "" {
			t.Errorf("%q has the runtime %q", odd, got)
		}
	}
}
