// Package kubelet tests the kubelet with a real containerd, a real network
// and the real API server, in a network namespace of its own.
package kubelet

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/kubelet/nodetest"
)

var (
	node       *nodetest.Node
	containerd = flag.String("containerd", "", "the containerd to run, that of bin/ or the machine's by default")
)

// config makes what happens to logs and sysctls happen in a test's time.
const config = `containerLogMaxSize: 64Ki
containerLogMaxFiles: 3
containerLogMonitorInterval: 3s
allowedUnsafeSysctls: ["kernel.msg*"]
`

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if os.Geteuid() != 0 {
			fmt.Fprintln(os.Stderr, "these tests run containers: run them as root")
			return 1
		}
		programs, err := credentialProgram()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(programs)
		node, err = nodetest.Start(nodetest.Options{Containerd: *containerd, Config: config,
			Args: []string{"--image-credential-provider-config=" + filepath.Join(programs, "config.yaml"), "--image-credential-provider-bin-dir=" + programs}})
		defer func() {
			if err := node.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "what the tests left behind:", err)
			}
		}()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			if node != nil {
				fmt.Fprintln(os.Stderr, node.Log())
			}
			return 1
		}
		code := m.Run()
		if code != 0 {
			fmt.Fprintln(os.Stderr, node.LastWords())
		}
		return code
	}())
}

// limit is how long anything may take on a machine that does much else.
const limit = 3 * time.Minute

// until waits for a condition and fails the test with what it last said.
func until(t *testing.T, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// pod is a pod of this node with one container.
func pod(name string, args ...string) *corev1.Pod {
	grace := int64(1)
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{
			NodeName: node.Name, TerminationGracePeriodSeconds: &grace, AutomountServiceAccountToken: &no, RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "main", Image: nodetest.Agent, Args: args}},
		},
	}
}

// create makes a pod that is gone when the test ends.
func create(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := node.Client.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		err := node.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		gone(t, made)
	})
	return made
}

func gone(t *testing.T, p *corev1.Pod) {
	t.Helper()
	until(t, "pod "+p.Name+" gone", func() error {
		have, err := node.Client.CoreV1().Pods(p.Namespace).Get(context.Background(), p.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && have.UID != p.UID {
			return nil
		}
		return fmt.Errorf("it is there: %v %v", err, have.Status)
	})
}

func get(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p, err := node.Client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wait waits until a pod is as wanted, and gives it.
func wait(t *testing.T, name, what string, f func(p *corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	until(t, "pod "+name+" "+what, func() error {
		if p = get(t, name); f(p) {
			return nil
		}
		return fmt.Errorf("phase %s, reason %q, conditions %v, init %v, containers %v\n%s", p.Status.Phase, p.Status.Reason, p.Status.Conditions, p.Status.InitContainerStatuses, p.Status.ContainerStatuses, events(t, name))
	})
	return p
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func phase(want corev1.PodPhase) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p.Status.Phase == want }
}

func status(p *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return &corev1.ContainerStatus{}
}

func events(t *testing.T, name string) string {
	t.Helper()
	list, err := node.Client.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range list.Items {
		fmt.Fprintf(&b, "%s %s %s %s\n", e.Type, e.Reason, e.InvolvedObject.FieldPath, e.Message)
	}
	return b.String()
}

// told waits for an event that contains a text.
func told(t *testing.T, name, text string) {
	t.Helper()
	until(t, "event of "+name, func() error {
		if all := events(t, name); !strings.Contains(all, text) {
			return fmt.Errorf("no %q among\n%s", text, all)
		}
		return nil
	})
}

// logs are what a container has written.
func logs(t *testing.T, name, container string) string {
	t.Helper()
	raw, err := node.Client.CoreV1().Pods("default").GetLogs(name, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// output runs a pod to its end and gives what it has written.
func output(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	create(t, p)
	end := wait(t, p.Name, "over", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
	text := logs(t, p.Name, "main")
	if end.Status.Phase != corev1.PodSucceeded {
		t.Fatalf("pod failed: %v\n%s", end.Status, text)
	}
	return text
}

// fetch asks a pod over HTTP. One without a probe is ready before it listens.
func fetch(t *testing.T, p *corev1.Pod, path string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net=/var/run/netns/"+node.Netns(), "curl", "-s", "-m", "60", "--retry", "30", "--retry-connrefused", "--retry-delay", "1", "http://"+p.Status.PodIP+":8080"+path).CombinedOutput()
	if err != nil {
		t.Fatalf("ask %s for %s: %v", p.Status.PodIP, path, err)
	}
	return string(out)
}
