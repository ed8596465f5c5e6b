package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/test/kubelet/nodetest"
)

func pointer[T any](v T) *T { return &v }

func TestManyContainers(t *testing.T) {
	t.Parallel()
	const many = 20
	p := pod("many", "wait")
	p.Spec.Containers = nil
	for i := range many {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: nodetest.Agent, Args: []string{"wait"}})
	}
	create(t, p)
	have := wait(t, "many", "ready", ready)
	if len(have.Status.ContainerStatuses) != many {
		t.Error(len(have.Status.ContainerStatuses))
	}
	for i, s := range have.Status.ContainerStatuses {
		if s.Name != fmt.Sprintf("c%d", i) || s.State.Running == nil || s.RestartCount != 0 {
			t.Error(s)
		}
	}
}

// A program that is not in the image: the words of the runtime, without
// gRPC's own before them.
func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	once := pod("noprogram-never")
	once.Spec.Containers[0].Command = []string{"/nothing"}
	create(t, once)
	again := pod("noprogram")
	again.Spec.Containers[0].Command, again.Spec.RestartPolicy = []string{"/nothing"}, corev1.RestartPolicyAlways
	create(t, again)

	over := wait(t, once.Name, "failed", phase(corev1.PodFailed))
	if e := status(over, "main").State.Terminated; e == nil || e.Reason != "StartError" || e.ExitCode != 128 || !strings.HasPrefix(e.Message, "failed to create containerd task: ") {
		t.Errorf("%+v", status(over, "main").State)
	}
	told(t, once.Name, "Warning Failed spec.containers{main} Error: failed to create containerd task: ")
	wait(t, again.Name, "backing off", func(p *corev1.Pod) bool {
		s := status(p, "main")
		return s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" && s.LastTerminationState.Terminated != nil && s.LastTerminationState.Terminated.Reason == "StartError"
	})
	told(t, again.Name, "Warning BackOff spec.containers{main} Back-off restarting failed container main in pod noprogram_default(")
}

func TestModesOfTokens(t *testing.T) {
	t.Parallel()
	account, err := node.Client.CoreV1().ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token := func(name string, sc *corev1.PodSecurityContext, want string) {
		p := pod(name, "mode", "/t/token", "/t/name")
		p.Spec.ServiceAccountName, p.Spec.SecurityContext = account.Name, sc
		p.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
		}}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "t", MountPath: "/t"}}
		if have := output(t, p); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	token("token-plain", nil, "0644 0 0\n0644 0 0\n")
	token("token-user", &corev1.PodSecurityContext{RunAsUser: pointer(int64(1000))}, "0600 1000 0\n0644 0 0\n")
	token("token-group", &corev1.PodSecurityContext{FSGroup: pointer(int64(2000))}, "0640 0 2000\n0644 0 2000\n")
	token("token-both", &corev1.PodSecurityContext{RunAsUser: pointer(int64(1000)), FSGroup: pointer(int64(2000))}, "0640 1000 2000\n0644 0 2000\n")
}

func TestMemoryVolumeIsBounded(t *testing.T) {
	t.Parallel()
	p := pod("tmpfs", "room", "/m")
	p.Spec.Volumes = []corev1.Volume{{Name: "m", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: pointer(resource.MustParse("3Mi"))}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "m", MountPath: "/m"}}
	if have := output(t, p); !strings.HasPrefix(have, "3 ") || !strings.Contains(have, "no space left on device") {
		t.Error(have)
	}
}

func TestHostPathTypes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		path string
		kind corev1.HostPathType
		bad  string
	}{
		"dir-or-create": {"new/dir", corev1.HostPathDirectoryOrCreate, ""}, "no-dir": {"none", corev1.HostPathDirectory, "hostPath type check failed: %s is not a directory"},
		"no-file": {"none", corev1.HostPathFile, "hostPath type check failed: %s is not a file"}, "no-socket": {"", corev1.HostPathSocket, "hostPath type check failed: %s is not a socket file"},
		"no-char": {"", corev1.HostPathCharDev, "hostPath type check failed: %s is not a character device"}, "no-block": {"", corev1.HostPathBlockDev, "hostPath type check failed: %s is not a block device"},
	} {
		p := pod("hostpath-"+name, "exists", "/h")
		p.Spec.Volumes = []corev1.Volume{{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(dir, c.path), Type: &c.kind}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "h", MountPath: "/h"}}
		create(t, p)
		if c.bad == "" {
			wait(t, p.Name, "over", phase(corev1.PodSucceeded))
			continue
		}
		told(t, p.Name, `Warning FailedMount  MountVolume.SetUp failed for volume "h" : `+fmt.Sprintf(c.bad, filepath.Join(dir, c.path)))
	}
}

// A mount that is read-only with all below it, where the runtime can.
func TestRecursiveReadOnly(t *testing.T) {
	t.Parallel()
	n, err := node.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	can := len(n.Status.RuntimeHandlers) > 0 && n.Status.RuntimeHandlers[0].Features != nil && *n.Status.RuntimeHandlers[0].Features.RecursiveReadOnlyMounts
	p := pod("recursive", "wait")
	p.Spec.Volumes = []corev1.Volume{{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "e", MountPath: "/e", ReadOnly: true, RecursiveReadOnly: pointer(corev1.RecursiveReadOnlyIfPossible)}}
	create(t, p)
	want := corev1.RecursiveReadOnlyDisabled
	if can {
		want = corev1.RecursiveReadOnlyEnabled
	}
	have := wait(t, p.Name, "ready", ready)
	if m := status(have, "main").VolumeMounts; len(m) != 1 || m[0].RecursiveReadOnly == nil || *m[0].RecursiveReadOnly != want {
		t.Errorf("%+v, want %s", m, want)
	}
}

// A config map as large as they get, changed under a running pod; and keys
// that are not there.
func TestLargeConfigMap(t *testing.T) {
	t.Parallel()
	maps := node.Client.CoreV1().ConfigMaps("default")
	large := func(c string) map[string]string {
		return map[string]string{"large": strings.Repeat(c, 1000<<10), "word": c}
	}
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large"}, Data: large("a")}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := pod("large", "wait")
	p.Spec.Volumes = []corev1.Volume{
		{Name: "all", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "large"}}}},
		{Name: "some", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "large"}, Optional: pointer(true), Items: []corev1.KeyToPath{{Key: "later", Path: "x/later"}, {Key: "word", Path: "w"}}}}},
	}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/all"}, {Name: "some", MountPath: "/some"}}
	create(t, p)
	missing := pod("large-missing", "wait")
	missing.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "large"}, Items: []corev1.KeyToPath{{Key: "later", Path: "x"}}}}}}
	missing.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	create(t, missing)
	told(t, missing.Name, `Warning FailedMount  MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: later`)
	wait(t, p.Name, "ready", ready)
	made.Data = large("b")
	made.Data["later"] = "it came"
	if _, err := maps.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the new content", func() error {
		out, err := node.Kubectl("exec", p.Name, "--", "/bin/agent", "cat", "/all/word", "/some/x/later", "/all/large")
		if err == nil && strings.HasPrefix(out, "bit came") && strings.Count(out, "b") > 1000<<10 {
			return nil
		}
		return fmt.Errorf("%.60s %v", out, err)
	})
	wait(t, missing.Name, "ready", ready)
}

// The runtime is killed under load: what runs goes on, what is being made is
// made later, nothing is made twice.
func TestContainerdKilled(t *testing.T) {
	steady := pod("steady", "wait")
	create(t, steady)
	before := status(wait(t, steady.Name, "ready", ready), "main")
	const many = 6
	for round := range 2 {
		names := make([]string, many)
		for i := range many {
			p := pod(fmt.Sprintf("churn-%d-%d", round, i), "wait")
			names[i] = p.Name
			create(t, p)
			if i == many/2 {
				node.KillContainerd()
			}
		}
		if err := node.StartContainerd(); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if s := status(wait(t, name, "ready", ready), "main"); s.RestartCount > 1 {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
	after := status(get(t, steady.Name), "main")
	if after.ContainerID != before.ContainerID || after.RestartCount != 0 {
		t.Errorf("the pod that ran is another: %+v, was %+v", after, before)
	}
}

// An image goes away under a pod that starts again: it is pulled, which fails
// in the open, and the pod comes back once it is there.
func TestImageVanishes(t *testing.T) {
	const name = "127.0.0.1:1/vanishing:1"
	if err := node.Ctr("images", "tag", nodetest.Agent, name); err != nil {
		t.Fatal(err)
	}
	p := pod("vanishing", "serve", "8080")
	p.Spec.RestartPolicy, p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = corev1.RestartPolicyAlways, name, corev1.PullIfNotPresent
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}, PeriodSeconds: 1, FailureThreshold: 5, TimeoutSeconds: 60, TerminationGracePeriodSeconds: pointer(int64(2))}
	create(t, p)
	have := wait(t, p.Name, "ready", ready)
	if err := node.Ctr("images", "remove", name); err != nil {
		t.Fatal(err)
	}
	until(t, "the runtime has noticed", func() error {
		if n, err := node.ImageCount(t.Context(), name); err != nil || n > 0 {
			return fmt.Errorf("%d images, %v", n, err)
		}
		return nil
	})
	fetch(t, have, "/break")
	wait(t, p.Name, "without its image", func(p *corev1.Pod) bool {
		s := status(p, "main")
		return s.State.Waiting != nil && (s.State.Waiting.Reason == "ErrImagePull" || s.State.Waiting.Reason == "ImagePullBackOff") && s.LastTerminationState.Terminated != nil
	})
	told(t, p.Name, `Warning Failed spec.containers{main} Failed to pull image "`+name+`": `)
	told(t, p.Name, "Warning Failed spec.containers{main} Error: ErrImagePull")
	told(t, p.Name, "Warning Unhealthy spec.containers{main} Liveness probe failed: HTTP probe failed with statuscode: 500")
	told(t, p.Name, "Normal Killing spec.containers{main} Container main failed liveness probe, will be restarted")
	if err := node.Ctr("images", "tag", nodetest.Agent, name); err != nil {
		t.Fatal(err)
	}
	back := wait(t, p.Name, "ready again", func(p *corev1.Pod) bool { return ready(p) && status(p, "main").RestartCount == 1 })
	if back.Status.Phase != corev1.PodRunning {
		t.Error(back.Status.Phase)
	}
}

// Whoever kills what holds a pod's network gets the pod anew, with an address.
func TestSandboxKilled(t *testing.T) {
	p := pod("sandboxless", "wait")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	create(t, p)
	before := wait(t, p.Name, "ready", ready)
	if err := node.KillSandbox(t.Context(), string(before.UID)); err != nil {
		t.Fatal(err)
	}
	told(t, p.Name, "Normal SandboxChanged  Pod sandbox changed, it will be killed and re-created.")
	after := wait(t, p.Name, "ready again", func(p *corev1.Pod) bool {
		return ready(p) && status(p, "main").RestartCount == 1 && p.Status.PodIP != ""
	})
	if s := status(after, "main"); s.LastTerminationState.Terminated == nil || s.ContainerID == status(before, "main").ContainerID {
		t.Errorf("%+v", s)
	}
	once := pod("sandboxless-never", "wait")
	create(t, once)
	have := wait(t, once.Name, "ready", ready)
	if err := node.KillSandbox(t.Context(), string(have.UID)); err != nil {
		t.Fatal(err)
	}
	wait(t, once.Name, "over", phase(corev1.PodSucceeded)) // it ends well when it is asked to
}

// A pod that is deleted by force is gone from the API at once, and ends on the
// node all the same.
func TestForceDeletion(t *testing.T) {
	p := pod("forced", "stubborn")
	p.Spec.TerminationGracePeriodSeconds = pointer(int64(300))
	create(t, p)
	have := wait(t, p.Name, "ready", ready)
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: pointer(int64(0))}); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Client.CoreV1().Pods("default").Get(t.Context(), p.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	until(t, "nothing of it is left on the node", func() error {
		if _, err := os.Stat(filepath.Join(node.Root(), "pods", string(have.UID))); !os.IsNotExist(err) {
			return fmt.Errorf("its directory: %v", err)
		}
		if n, err := node.Sandboxes(t.Context(), string(have.UID)); err != nil || len(n) > 0 {
			return fmt.Errorf("sandboxes %v, %v", n, err)
		}
		return nil
	})
}
