package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pods with users of their own: root of one is nobody on the node, and nobody in
// another pod; volumes look as they do in other pods.
func TestUsers(t *testing.T) {
	t.Parallel()
	no := false
	if _, err := node.Client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "users"}, Data: map[string]string{"key": "value"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	with := func(name string, args ...string) *corev1.Pod {
		p := pod(name, args...)
		p.Spec.HostUsers = &no
		p.Spec.Volumes = []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "users"}}}},
			{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "memory", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: "/config"}, {Name: "empty", MountPath: "/empty"}, {Name: "memory", MountPath: "/memory"}}
		return p
	}
	first := map[string]bool{}
	for _, name := range []string{"users-first", "users-second"} {
		p := always(with(name, "wait"))
		writer := p.Spec.Containers[0]
		writer.Name, writer.Args = "writer", []string{"write", "/empty/file", "text"}
		memory := writer
		memory.Name, memory.Args = "memory", []string{"write", "/memory/file", "text"}
		reader := writer
		reader.Name, reader.Args = "reader", []string{"cat", "/config/key", "/empty/file", "/memory/file", "/proc/self/uid_map", "/etc/hosts"}
		p.Spec.InitContainers = []corev1.Container{writer, memory, reader}
		create(t, p)
		p = wait(t, name, "ready", ready)
		said := logs(t, name, "reader")
		words := strings.Fields(strings.TrimPrefix(said, "valuetexttext"))
		if len(words) < 3 || words[0] != "0" || words[2] != "65536" || !strings.Contains(said, p.Status.PodIP+"\t"+name) {
			t.Fatalf("it reads %q", said)
		}
		own, err := strconv.Atoi(words[1])
		if err != nil || own == 0 || own%65536 != 0 || first[words[1]] {
			t.Errorf("its root is %s on the node", words[1])
		}
		first[words[1]] = true
		// What it owns is its root's in the volume, and the processes are not the
		// node's root's.
		var st syscall.Stat_t
		file := filepath.Join(node.Dir, "kubelet", "pods", string(p.UID), "volumes", "kubernetes.io~empty-dir", "empty", "file")
		if err := syscall.Stat(file, &st); err != nil || st.Uid != 0 {
			t.Errorf("%s belongs to %d; %v", file, st.Uid, err)
		}
		if uid := processUser(t, p); uid != own {
			t.Errorf("it runs as %d on the node, not as %d", uid, own)
		}
	}
}

// processUser is whom the node sees a pod's process run as.
func processUser(t *testing.T, p *corev1.Pod) int {
	t.Helper()
	_, id, _ := strings.Cut(status(p, "main").ContainerID, "://")
	for _, pattern := range []string{"/sys/fs/cgroup/memory%s/kubepods/*/pod%s/%s/cgroup.procs", "/sys/fs/cgroup%s/kubepods/*/pod%s/%s/cgroup.procs"} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, node.Cgroup(), p.UID, id))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat("/proc/" + strings.Fields(string(raw))[0])
			if err != nil {
				t.Fatal(err)
			}
			return int(info.Sys().(*syscall.Stat_t).Uid)
		}
	}
	t.Fatalf("container %s has no group", id)
	return 0
}
