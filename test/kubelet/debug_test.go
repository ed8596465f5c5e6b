package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// kubectl debug adds a container that sees the processes of another.
func TestDebug(t *testing.T) {
	t.Parallel()
	create(t, always(pod("target", "wait")))
	wait(t, "target", "ready", ready)
	out, err := node.Kubectl("debug", "target", "--image="+nodetest.Agent, "--image-pull-policy=IfNotPresent", "--target=main", "--container=look", "--profile=general", "--", "/bin/agent", "cat", "/proc/1/cmdline")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wait(t, "target", "looked at", func(p *corev1.Pod) bool { return status(p, "look").State.Terminated != nil })
	if got := logs(t, "target", "look"); got != "/bin/agent\x00wait\x00" {
		t.Errorf("process 1 is %q", got)
	}
}

// The host's namespaces, for those who ask.
func TestHostNamespaces(t *testing.T) {
	t.Parallel()
	files := []string{"/proc/self/ns/ipc", "/proc/self/ns/net"}
	own := map[string]string{}
	for _, f := range files {
		to, err := os.Readlink(f)
		if err != nil {
			t.Fatal(err)
		}
		own[f] = to
	}
	node1, err := node.Command("readlink", "/proc/self/ns/net")
	if err != nil {
		t.Fatal(err, node1)
	}
	own["/proc/self/ns/net"] = strings.TrimSpace(node1)
	for _, host := range []bool{true, false} {
		p := pod(fmt.Sprintf("namespaces-%t", host), append([]string{"links"}, files...)...)
		p.Spec.HostIPC, p.Spec.HostNetwork = host, host
		got := strings.Fields(output(t, p))
		for i, f := range files {
			if (got[i] == own[f]) != host {
				t.Errorf("host namespaces %t: %s is %s, the host's is %s", host, f, got[i], own[f])
			}
		}
	}
	p := pod("host-pid", "cat", fmt.Sprintf("/proc/%d/cmdline", node.KubeletPID()))
	p.Spec.HostPID = true
	if got := output(t, p); !strings.Contains(got, "kubelet\x00") {
		t.Errorf("the kubelet's command line is %q", got)
	}
	// One namespace of processes for the pod: the sandbox's is the first.
	yes := true
	p = pod("shared-pid", "cat", "/proc/1/cmdline")
	p.Spec.ShareProcessNamespace = &yes
	if got := output(t, p); !strings.Contains(got, "pause") {
		t.Errorf("process 1 is %q", got)
	}
}

// Sysctls that are not safe need the node's leave.
func TestUnsafeSysctls(t *testing.T) {
	t.Parallel()
	p := pod("sysctl-allowed", "cat", "/proc/sys/kernel/msgmax")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65000"}}}
	if got := output(t, p); got != "65000\n" {
		t.Errorf("it reads %q", got)
	}
	p = pod("sysctl-refused", "wait")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.core.somaxconn", Value: "1024"}}}
	create(t, p)
	p = wait(t, p.Name, "refused", phase(corev1.PodFailed))
	if p.Status.Reason != "SysctlForbidden" || p.Status.Message != `Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted` {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
}

// Capabilities are added and dropped one by one.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	p := pod("capabilities", "cat", "/proc/self/status")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE", "CHOWN"}}}
	const chown, bind = 1 << 0, 1 << 10
	if got, want := output(t, p), fmt.Sprintf("CapEff:\t%016x\n", chown|bind); !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

// A link that a container has made leads its neighbour nowhere.
func TestSubPathOfALink(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "host-only")
	if err := os.WriteFile(secret, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := pod("subpath-link", "cat", "/outside/host-only")
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.InitContainers = []corev1.Container{{Name: "bad", Image: nodetest.Agent, Args: []string{"link", filepath.Dir(secret), "/data/link"}, VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/outside", SubPath: "link"}}
	create(t, p)
	p = wait(t, p.Name, "refused", func(p *corev1.Pod) bool {
		w := status(p, "main").State.Waiting
		return w != nil && w.Reason == "CreateContainerConfigError"
	})
	if got, want := status(p, "main").State.Waiting.Message, `failed to prepare subPath for volumeMount "data" of container "main"`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

// Of the runs of a container that fails again and again only the last are kept.
func TestDeadContainers(t *testing.T) {
	t.Parallel()
	p := always(pod("crashes", "exit", "1"))
	create(t, p)
	p = wait(t, p.Name, "restarted twice", func(p *corev1.Pod) bool { return status(p, "main").RestartCount >= 2 })
	cri, conn, err := node.CRI()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	until(t, "old containers removed", func() error {
		list, err := cri.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: map[string]string{"io.kubernetes.pod.uid": string(p.UID)}}})
		if err != nil {
			return err
		}
		logs, err := filepath.Glob(filepath.Join(node.Dir, "log", "default_crashes_"+string(p.UID), "main", "*"))
		if err != nil {
			return err
		}
		// The last one, and the one before it, whose log kubectl logs -p reads.
		if len(list.Containers) > 2 || len(logs) > 2 {
			return fmt.Errorf("%d containers, logs %v", len(list.Containers), logs)
		}
		return nil
	})
}
