package runtime

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what configurations are now")

// golden runs cases of a file: a text, ----, and what it makes. A line ====
// ends a case.
func golden(t *testing.T, path string, f func(given string) string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range strings.Split(string(raw), "====\n") {
		given, _, ok := strings.Cut(c, "----\n")
		if !ok {
			t.Fatalf("%s: a case without ----:\n%s", path, c)
		}
		out = append(out, given+"----\n"+f(given))
	}
	now := strings.Join(out, "====\n")
	if *update {
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(string(raw), "\n")
	for i, line := range strings.Split(now, "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("%s differs at line %d (-update writes it): now %q", path, i+1, line)
		}
	}
	if now != string(raw) {
		t.Errorf("%s differs at its end (-update writes it)", path)
	}
}

func readPod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	pod.Namespace, pod.UID = "ns", "uid-1"
	if pod.Name == "" {
		pod.Name = "web"
	}
	return pod
}

func show(t *testing.T, what string, v any, err error) string {
	t.Helper()
	if err != nil {
		return fmt.Sprintf("%s: error: %v\n", what, err)
	}
	raw, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return what + ":\n  " + strings.ReplaceAll(strings.TrimSpace(string(raw)), "\n", "\n  ") + "\n"
}

// What the runtime is told of a pod and of its containers.
func TestConfigs(t *testing.T) {
	golden(t, "testdata/configs.txt", func(given string) string {
		pod := readPod(t, given)
		sandbox, err := SandboxConfig(SandboxInput{
			Pod: pod, Attempt: 1, CgroupParent: "/kubepods/poduid-1", LogDirectory: LogDirectory("/var/log/pods", pod), Domain: "cluster.local",
			Sysctls: map[string]string{"net.ipv4.ping_group_range": "0 0"}, Seccomp: SeccompOptions{Root: "/var/lib/kubelet/seccomp"},
		})
		out := show(t, "sandbox", sandbox, err)
		eachContainer(pod, func(c *corev1.Container) {
			uid := int64(0)
			config, err := ContainerConfig(ContainerInput{
				Pod: pod, Container: c, Attempt: 2, ImageRef: "sha256:abc", ImageUser: ImageUser{UID: &uid}, Command: c.Command, Args: c.Args,
				Seccomp: SeccompOptions{Default: true, Root: "/var/lib/kubelet/seccomp"},
			})
			out += show(t, "container "+c.Name, config, err)
		})
		return out
	})
}

// How a pod finds names, and what it is called itself.
func TestNames(t *testing.T) {
	resolv := t.TempDir() + "/resolv.conf"
	if err := os.WriteFile(resolv, []byte("# of the host\nnameserver 192.0.2.53\nsearch example.com. corp.example.com\noptions timeout:2 ndots:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/names.txt", func(given string) string {
		pod := readPod(t, given)
		o := DNSOptions{ClusterDomain: "cluster.local", ResolvConf: resolv}
		if pod.Annotations["cluster"] != "without DNS" {
			o.ClusterDNS = []string{"10.96.0.10"}
		}
		dns, warnings, err := PodDNS(pod, o)
		out := show(t, "dns", dns, err)
		for _, w := range warnings {
			out += w.Reason + ": " + w.Message + "\n"
		}
		hosts, err := HostsFile(pod, []string{"10.0.0.7", "fd00::7"}, o.ClusterDomain, []byte("127.0.0.1\tlocalhost\n"))
		if err != nil {
			return out + "hosts: error: " + err.Error() + "\n"
		}
		return out + "hosts:\n  " + strings.ReplaceAll(strings.TrimSpace(string(hosts)), "\n", "\n  ") + "\n"
	})
}

// Who must not be root is not.
func TestNonRoot(t *testing.T) {
	yes, no := true, false
	id := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		must   *bool
		asked  *int64
		image  ImageUser
		refuse string
	}{
		{nil, nil, ImageUser{UID: id(0)}, ""},
		{&no, id(0), ImageUser{}, ""},
		{&yes, id(1000), ImageUser{UID: id(0)}, ""},
		{&yes, nil, ImageUser{UID: id(1000)}, ""},
		{&yes, id(0), ImageUser{UID: id(1000)}, `container's runAsUser breaks non-root policy (pod: "web_ns(uid-1)", container: main)`},
		{&yes, nil, ImageUser{UID: id(0)}, `container has runAsNonRoot and image will run as root (pod: "web_ns(uid-1)", container: main)`},
		{&yes, nil, ImageUser{Name: "nobody"}, `container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root (pod: "web_ns(uid-1)", container: main)`},
	} {
		pod := readPod(t, "spec: {containers: [{name: main, image: i}]}")
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsNonRoot: c.must, RunAsUser: c.asked}
		_, err := containerSecurity(ContainerInput{Pod: pod, Container: &pod.Spec.Containers[0], ImageUser: c.image})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.refuse {
			t.Errorf("%v %v %v: %q, want %q", c.must, c.asked, c.image, got, c.refuse)
		}
	}
}

// What is observed: the newest first, states, messages.
func TestObserved(t *testing.T) {
	c := containerOf(&runtimeapi.ContainerStatus{
		Id: "c1", Metadata: &runtimeapi.ContainerMetadata{Name: "main", Attempt: 3}, State: runtimeapi.ContainerState_CONTAINER_EXITED, CreatedAt: 1e9, StartedAt: 2e9, FinishedAt: 3e9,
		ExitCode: 137, Reason: "OOMKilled", Image: &runtimeapi.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "app:1"}, ImageRef: "app@sha256:1",
		Labels: map[string]string{LabelContainerName: "main"}, LogPath: "/logs/0.log",
		Annotations: map[string]string{annotationHash: "h", annotationRestartCount: "5", annotationMessagePath: "/dev/termination-log", annotationMessagePolicy: "File", annotationGrace: "7"},
		Mounts:      []*runtimeapi.Mount{{ContainerPath: "/dev/termination-log", HostPath: "/pods/u/message"}},
	})
	if c.State != Exited || c.RestartCount != 5 || c.Attempt != 3 || c.Image != "app:1" || c.Grace != 7 || c.MessageFile != "/pods/u/message" || c.Finished.Unix() != 3 || c.Hash != "h" {
		t.Errorf("%+v", c)
	}
	pod := &Pod{
		Sandboxes: []*Sandbox{{ID: "s1", Created: at(1e9)}, {ID: "s2", Created: at(2e9), Ready: true, IPs: []string{"10.0.0.7"}}},
		Containers: []*Container{{ID: "old", Name: "main", Created: at(1e9), State: Exited}, {ID: "same-1", Name: "x", Created: at(5e9), Attempt: 1, State: Created},
			{ID: "same-2", Name: "x", Created: at(5e9), Attempt: 2, State: Exited}, {ID: "new", Name: "main", Created: at(2e9), State: Running}},
	}
	pod.sort()
	if pod.Sandbox().ID != "s2" || pod.Container("main").ID != "new" || pod.Container("x").ID != "same-2" || pod.Container("none") != nil {
		t.Errorf("%+v", pod)
	}
	for _, k := range []struct {
		id    string
		state State
		has   bool
	}{{"s1", Running, false}, {"s1", Exited, true}, {"s2", Running, true}, {"new", Running, true}, {"new", Exited, false}, {"none", Running, false}} {
		if pod.Has(k.id, k.state) != k.has {
			t.Errorf("%s %s is not %t", k.id, k.state, k.has)
		}
	}
	if !pod.AnyRunning() || pod.IPs()[0] != "10.0.0.7" {
		t.Error("what runs is not seen to")
	}
	var none *Pod
	if none.AnyRunning() || none.Sandbox() != nil || none.IPs() != nil || none.Has("x", Running) {
		t.Error("nothing is something")
	}
}

func TestOperationNames(t *testing.T) {
	for method, want := range map[string]string{
		"/runtime.v1.RuntimeService/RunPodSandbox": "run_podsandbox", "/runtime.v1.RuntimeService/ListContainers": "list_containers",
		"/runtime.v1.ImageService/ImageFsInfo": "image_fs_info", "/runtime.v1.RuntimeService/PodSandboxStatus": "podsandbox_status",
	} {
		if got := operation(method); got != want {
			t.Errorf("%s is called %s, want %s", method, got, want)
		}
	}
}

// Every signal of the runtime's has a name that pods use, and back.
func TestSignals(t *testing.T) {
	for n := range runtimeapi.Signal_name {
		want := runtimeapi.Signal(n)
		s := signalOf(want)
		if n == 0 {
			if s != nil {
				t.Errorf("the default is %s", *s)
			}
			continue
		}
		if got, ok := stopSignal(*s); !ok || got != want {
			t.Errorf("%v is %s, which is %v", want, *s, got)
		}
	}
	if got := signalOf(runtimeapi.Signal_SIGNAL_SIGRTMINPLUS1); *got != "SIGRTMIN+1" {
		t.Errorf("it is called %s", *got)
	}
	if _, ok := stopSignal("SIGNONE"); ok {
		t.Error("SIGNONE is a signal")
	}
}
