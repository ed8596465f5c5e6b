// Package podapi tests what pods and their users have of the kubelet: volumes
// and environments, logs, exec, attach, port-forward and copying through the
// API server, and the node's own statistics and metrics.
package podapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/test/kubelet/nodetest"
)

var n *nodetest.Node

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests run containers: run them as root")
		return 1
	}
	var err error
	n, err = nodetest.Start(nodetest.Options{})
	code := 1
	if err == nil {
		err = errors.Join(tool(), rootCA())
	}
	if err == nil {
		code = m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if code != 0 && n != nil {
		fmt.Fprintln(os.Stderr, n.LastWords())
	}
	if err := n.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// tool puts the program tar where pods can mount it.
func tool() error {
	build := exec.Command("go", "build", "-o", filepath.Join(n.Dir, "tools", "tar"), "../tar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build tar: %w\n%s", err, out)
	}
	return nil
}

// rootCA makes what the controller manager would publish: the authorities that
// every pod gets beside its token.
func rootCA() error {
	raw, err := os.ReadFile(filepath.Join(n.Dir, "api", "pki", "ca.crt"))
	if err != nil {
		return err
	}
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": string(raw)}}
	_, err = n.Client.CoreV1().ConfigMaps("default").Create(context.Background(), c, metav1.CreateOptions{})
	return err
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	nodetest.Until(t, "what is waited for", f)
}

// create makes a pod whose spec is given as YAML; the image is the agent's
// where none is given.
func create(t *testing.T, name, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}, Annotations: map[string]string{"note": "first"}}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	p.Spec.NodeName = n.Name
	second := int64(1)
	p.Spec.TerminationGracePeriodSeconds = &second
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Image == "" {
				list[i].Image, list[i].ImagePullPolicy = nodetest.Agent, corev1.PullNever
			}
		}
	}
	p, err := n.Client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		zero := int64(0)
		_ = n.Client.CoreV1().Pods("default").Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &zero}) // gone is well
	})
	return p
}

func get(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p, err := n.Client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ready(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return until(t, name, "it is ready", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return true
			}
		}
		return false
	})
}

func until(t *testing.T, name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	eventually(t, func() error {
		if p = get(t, name); ok(p) {
			return nil
		}
		return fmt.Errorf("pod %s: %s: %s", name, what, p.Status.String())
	})
	return p
}

// kubectl runs kubectl, which must succeed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := n.Kubectl(args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// inside runs the agent in a pod's first container.
func inside(t *testing.T, pod string, args ...string) string {
	t.Helper()
	return kubectl(t, append([]string{"exec", pod, "-c", "c", "--", "/bin/agent"}, args...)...)
}

// event waits for an event about a pod.
func event(t *testing.T, pod *corev1.Pod, reason, message string) {
	t.Helper()
	eventually(t, func() error {
		list, err := n.Client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
		if err != nil {
			return err
		}
		var seen []string
		for i := range list.Items {
			if e := &list.Items[i]; e.Reason == reason && e.Message == message {
				return nil
			}
			seen = append(seen, list.Items[i].Reason+": "+list.Items[i].Message)
		}
		return fmt.Errorf("no event %s: %s, but\n%s", reason, message, strings.Join(seen, "\n"))
	})
}
