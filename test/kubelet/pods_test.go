package kubelet

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/test/kubelet/nodetest"
)

func always(p *corev1.Pod) *corev1.Pod {
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	return p
}

// A node registers itself, says what it is, and renews its lease.
func TestNode(t *testing.T) {
	t.Parallel()
	var n *corev1.Node
	until(t, "node ready", func() (err error) {
		if n, err = node.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%v", n.Status.Conditions)
	})
	if n.Labels["kubernetes.io/hostname"] != node.Name || n.Labels["kubernetes.io/os"] != "linux" {
		t.Errorf("labels %v", n.Labels)
	}
	memory, allocatable := n.Status.Capacity[corev1.ResourceMemory], n.Status.Allocatable[corev1.ResourceMemory]
	if got := memory.Value() - allocatable.Value(); got != 50<<20 {
		t.Errorf("%d bytes of memory are kept from pods, want the eviction threshold of 50Mi", got)
	}
	if len(n.Status.Images) == 0 || !strings.HasPrefix(n.Status.NodeInfo.ContainerRuntimeVersion, "containerd://") {
		t.Errorf("images %v, info %v", n.Status.Images, n.Status.NodeInfo)
	}
	for _, text := range []string{
		"Normal Starting  Starting kubelet.\n",
		"Normal NodeAllocatableEnforced  Updated Node Allocatable limit across pods\n",
		"Normal NodeHasSufficientMemory  Node " + node.Name + " status is now: NodeHasSufficientMemory\n",
		"Normal NodeHasNoDiskPressure  Node " + node.Name + " status is now: NodeHasNoDiskPressure\n",
		"Normal NodeHasSufficientPID  Node " + node.Name + " status is now: NodeHasSufficientPID\n",
	} {
		told(t, node.Name, text)
	}
	until(t, "lease", func() error {
		l, err := node.Client.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), node.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if *l.Spec.HolderIdentity != node.Name || *l.Spec.LeaseDurationSeconds != 40 || l.OwnerReferences[0].UID != n.UID {
			t.Fatalf("lease %v of %v", l.Spec, l.OwnerReferences)
		}
		return nil
	})
}

// A pod runs, has an address, answers there, and ends when it is deleted.
func TestPod(t *testing.T) {
	t.Parallel()
	p := always(pod("simple", "serve", "8080"))
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}}
	create(t, p)
	p = wait(t, "simple", "ready", ready)
	if net.ParseIP(p.Status.PodIP) == nil || p.Status.PodIPs[0].IP != p.Status.PodIP || p.Status.HostIP != "10.77.1.1" || p.Status.HostIPs[0].IP != "10.77.1.1" {
		t.Errorf("addresses %v", p.Status)
	}
	if p.Status.Phase != corev1.PodRunning || p.Status.QOSClass != corev1.PodQOSBestEffort || p.Status.ObservedGeneration != p.Generation {
		t.Errorf("status %v", p.Status)
	}
	s := status(p, "main")
	if !strings.HasPrefix(s.ContainerID, "containerd://") || s.State.Running == nil || !*s.Started || s.RestartCount != 0 || s.ImageID == "" {
		t.Errorf("container %v", s)
	}
	if got := fetch(t, p, "/"); got != "hello\n" {
		t.Errorf("it says %q", got)
	}
	if got := logs(t, "simple", "main"); !strings.HasPrefix(got, "serving\nasked for /\n") {
		t.Errorf("logs %q", got)
	}
	for _, e := range []string{
		`Normal Pulled spec.containers{main} Container image "` + nodetest.Agent + `" already present on machine and can be accessed by the pod`,
		"Normal Created spec.containers{main} Container created", "Normal Started spec.containers{main} Container started",
	} {
		told(t, "simple", e)
	}
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), "simple", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	gone(t, p)
	told(t, "simple", "Normal Killing spec.containers{main} Stopping container main")
	until(t, "no trace", func() error {
		if _, err := os.Stat(node.Root() + "/pods/" + string(p.UID)); !os.IsNotExist(err) {
			return fmt.Errorf("the pod's directory: %v", err)
		}
		return nil
	})
}

// Init containers run one after the other, then the rest.
//
// NO-f896
func TestInitContainers(t *testing.T) {
	t.Parallel()
	p := pod("init", "cat", "/data/file")
	mount := []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.Containers[0].VolumeMounts = mount
	for _, name := range []string{"one", "two"} {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: name, Image: nodetest.Agent, Args: []string{"append", "/data/file", name}, VolumeMounts: mount})
	}
	if got := output(t, p); got != "one\ntwo\n" {
		t.Errorf("wrote %q", got)
	}
	for _, c := range get(t, "init").Status.Conditions {
		if c.Type == corev1.PodInitialized && (c.Status != corev1.ConditionTrue || c.Reason != "PodCompleted") {
			t.Errorf("condition %v", c)
		}
	}
}

// A failing init container ends a pod that is not restarted, before its
// containers start.
//
// NO-df2f
func TestInitFails(t *testing.T) {
	t.Parallel()
	p := pod("init-fails", "echo", "never")
	p.Spec.InitContainers = []corev1.Container{{Name: "bad", Image: nodetest.Agent, Args: []string{"exit", "3"}}}
	create(t, p)
	p = wait(t, "init-fails", "failed", phase(corev1.PodFailed))
	if s := status(p, "bad").State.Terminated; s == nil || s.ExitCode != 3 || s.Reason != "Error" {
		t.Errorf("init container %v", status(p, "bad").State)
	}
	if s := status(p, "main").State.Waiting; s == nil || s.Reason != "PodInitializing" {
		t.Errorf("container %v", status(p, "main").State)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodInitialized && (c.Status != corev1.ConditionFalse || c.Message != "containers with incomplete status: [bad]") {
			t.Errorf("condition %v", c)
		}
	}
}

// A sidecar starts before the rest, keeps running, and does not keep the pod
// from being done.
func TestSidecar(t *testing.T) {
	t.Parallel()
	p := pod("sidecar", "get", "http://127.0.0.1:8080/")
	policy := corev1.ContainerRestartPolicyAlways
	p.Spec.InitContainers = []corev1.Container{{
		Name: "side", Image: nodetest.Agent, Args: []string{"serve", "8080"}, RestartPolicy: &policy,
		StartupProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}},
	}}
	if got := output(t, p); got != "hello\n" {
		t.Errorf("wrote %q", got)
	}
	if s := status(get(t, "sidecar"), "side"); s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
		t.Errorf("sidecar %v", s.State)
	}
}

// Restart policies, and the pauses between restarts.
//
// NO-c246
func TestRestarts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy corev1.RestartPolicy
		code   string
		phase  corev1.PodPhase
		again  bool
	}{
		{corev1.RestartPolicyNever, "0", corev1.PodSucceeded, false},
		{corev1.RestartPolicyNever, "1", corev1.PodFailed, false},
		{corev1.RestartPolicyOnFailure, "0", corev1.PodSucceeded, false},
		{corev1.RestartPolicyOnFailure, "1", corev1.PodRunning, true},
		{corev1.RestartPolicyAlways, "0", corev1.PodRunning, true},
	} {
		name := strings.ToLower(string(c.policy)) + c.code
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pod(name, "exit", c.code)
			p.Spec.RestartPolicy = c.policy
			create(t, p)
			if !c.again {
				p = wait(t, name, "over", phase(c.phase))
				if s := status(p, "main"); s.RestartCount != 0 || s.State.Terminated == nil || s.Ready {
					t.Errorf("container %v", s)
				}
				return
			}
			p = wait(t, name, "waits", func(p *corev1.Pod) bool {
				w := status(p, "main").State.Waiting
				return w != nil && w.Reason == "CrashLoopBackOff"
			})
			s := status(p, "main")
			want := fmt.Sprintf("back-off 10s restarting failed container=main pod=%s_default(%s)", name, p.UID)
			if s.RestartCount != 1 || s.LastTerminationState.Terminated == nil || s.State.Waiting.Message != want || p.Status.Phase != corev1.PodRunning {
				t.Errorf("phase %s, container %v, want %q", p.Status.Phase, s, want)
			}
			told(t, name, "Warning BackOff spec.containers{main} Back-off restarting failed container main in pod "+name+"_default("+string(p.UID)+")")
		})
	}
}

// What a container leaves as its last word.
//
// NO-d509, NO-a85b
func TestTerminationMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		policy corev1.TerminationMessagePolicy
		args   []string
		want   string
	}{
		{"file", corev1.TerminationMessageReadFile, []string{"then", "/dev/termination-log", "DONE", "0"}, "DONE"},
		{"file-first", corev1.TerminationMessageFallbackToLogsOnError, []string{"then", "/dev/termination-log", "OK", "1"}, "OK"},
		{"logs", corev1.TerminationMessageFallbackToLogsOnError, []string{"fail", "1", "from", "the", "log"}, "from the log\n"},
		{"no-logs", corev1.TerminationMessageFallbackToLogsOnError, []string{"fail", "0", "from the log"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pod("message-"+c.name, c.args...)
			p.Spec.Containers[0].TerminationMessagePolicy = c.policy
			create(t, p)
			p = wait(t, p.Name, "over", func(p *corev1.Pod) bool { return status(p, "main").State.Terminated != nil })
			if got := status(p, "main").State.Terminated.Message; got != c.want {
				t.Errorf("message %q, want %q", got, c.want)
			}
		})
	}
}

// Hooks run after the start and before the end.
//
// NO-1703, NO-4c81
func TestHooks(t *testing.T) {
	t.Parallel()
	answers := always(pod("hook-server", "serve", "8080"))
	answers.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, PeriodSeconds: 1, TimeoutSeconds: 60}
	create(t, answers)
	server := wait(t, "hook-server", "ready", ready)
	call := func(path string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Host: server.Status.PodIP, Port: intstr.FromInt32(8080), Path: path}}
	}
	p := always(pod("hooks", "wait"))
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: call("/started"), PreStop: call("/stopping")}
	made := create(t, p)
	wait(t, "hooks", "ready", ready)
	if got := fetch(t, server, "/calls"); got != "1" {
		t.Errorf("after the start it was called %s times", got)
	}
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), "hooks", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	gone(t, made)
	if got := fetch(t, server, "/calls"); got != "2" {
		t.Errorf("after the end it was called %s times", got)
	}
	until(t, "the log has both", func() error {
		if got := logs(t, "hook-server", "main"); !strings.Contains(got, "asked for /started\nasked for /stopping\n") {
			return fmt.Errorf("it was asked %q", got)
		}
		return nil
	})
}

// Probes make pods unready and restart containers.
func TestProbes(t *testing.T) {
	t.Parallel()
	health := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("web")}}
	serving := func(name string) *corev1.Pod {
		p := always(pod(name, "serve", "8080"))
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
		return p
	}
	t.Run("liveness", func(t *testing.T) {
		t.Parallel()
		p := serving("live")
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: health, PeriodSeconds: 1, FailureThreshold: 1, InitialDelaySeconds: 1, TimeoutSeconds: 60}
		create(t, p)
		p = wait(t, "live", "ready", ready)
		fetch(t, p, "/break")
		wait(t, "live", "restarted", func(p *corev1.Pod) bool {
			return status(p, "main").RestartCount == 1 && status(p, "main").State.Running != nil
		})
		told(t, "live", "Warning Unhealthy spec.containers{main} Liveness probe failed: HTTP probe failed with statuscode: 500")
		told(t, "live", "Normal Killing spec.containers{main} Container main failed liveness probe, will be restarted")
	})
	t.Run("readiness", func(t *testing.T) {
		t.Parallel()
		p := serving("unready")
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: health, PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 60}
		create(t, p)
		p = wait(t, "unready", "ready", ready)
		fetch(t, p, "/break")
		p = wait(t, "unready", "unready", func(p *corev1.Pod) bool { return !ready(p) })
		if s := status(p, "main"); s.RestartCount != 0 || s.State.Running == nil || s.Ready {
			t.Errorf("container %v", s)
		}
		fetch(t, p, "/mend")
		wait(t, "unready", "ready again", ready)
	})
	t.Run("kinds", func(t *testing.T) {
		t.Parallel()
		p := serving("kinds")
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, InitialDelaySeconds: 1, TimeoutSeconds: 60}
		p.Spec.Containers[0].StartupProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"agent", "get", "http://127.0.0.1:8080/healthz"}}}, FailureThreshold: 30, TimeoutSeconds: 60}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "grpc", Image: nodetest.Agent, Args: []string{"grpc", "9090"},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9090}}}})
		create(t, p)
		p = wait(t, "kinds", "ready", ready)
		if n := status(p, "main").RestartCount; n != 0 {
			t.Errorf("it was restarted %d times\n%s", n, events(t, "kinds"))
		}
	})
	t.Run("startup", func(t *testing.T) {
		t.Parallel()
		p := always(pod("never-starts", "wait"))
		p.Spec.Containers[0].StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}}
		create(t, p)
		wait(t, "never-starts", "restarted", func(p *corev1.Pod) bool { return status(p, "main").RestartCount > 0 })
		told(t, "never-starts", "Container main failed startup probe, will be restarted")
	})
}

// A pod whose time is up fails.
//
// NO-8003
func TestDeadline(t *testing.T) {
	t.Parallel()
	p := pod("deadline", "wait")
	create(t, p)
	wait(t, "deadline", "running", phase(corev1.PodRunning))
	patch := `{"spec":{"activeDeadlineSeconds":1}}`
	if _, err := node.Client.CoreV1().Pods("default").Patch(t.Context(), "deadline", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p = wait(t, "deadline", "failed", phase(corev1.PodFailed))
	if p.Status.Reason != "DeadlineExceeded" || p.Status.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
	if status(p, "main").State.Terminated == nil {
		t.Errorf("container %v", status(p, "main").State)
	}
}

// Images that can't be had.
func TestImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, image string
		policy      corev1.PullPolicy
		reason      string
	}{
		{"never", "test.xebec.dev/absent:1", corev1.PullNever, "ErrImageNeverPull"},
		{"absent", "127.0.0.1:1/absent:1", corev1.PullIfNotPresent, "ImagePullBackOff"},
		{"invalid", "Not A Name", corev1.PullIfNotPresent, "InvalidImageName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := always(pod("image-"+c.name, "wait"))
			p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = c.image, c.policy
			create(t, p)
			wait(t, p.Name, c.reason, func(p *corev1.Pod) bool {
				w := status(p, "main").State.Waiting
				return w != nil && w.Reason == c.reason
			})
			told(t, p.Name, "Error: "+c.reason)
		})
	}
}

// A container that uses more memory than it may is killed, and says so.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	p := pod("oom", "memory", "200")
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: quantity("32Mi")}
	create(t, p)
	p = wait(t, "oom", "failed", phase(corev1.PodFailed))
	if s := status(p, "main").State.Terminated; s.Reason != "OOMKilled" || s.ExitCode != 137 {
		t.Errorf("container %v", s)
	}
}

// A pod that does not fit is refused.
func TestAdmission(t *testing.T) {
	t.Parallel()
	p := pod("too-big", "wait")
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: quantity("1000")}
	create(t, p)
	p = wait(t, "too-big", "refused", phase(corev1.PodFailed))
	if p.Status.Reason != "OutOfcpu" || !strings.HasPrefix(p.Status.Message, "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: ") {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
	p = pod("elsewhere", "wait")
	p.Spec.NodeSelector = map[string]string{"no": "such"}
	create(t, p)
	p = wait(t, "elsewhere", "refused", phase(corev1.PodFailed))
	if p.Status.Reason != "NodeAffinity" {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
}

// A grace period ends with a kill, sooner if a second delete says so.
func TestGrace(t *testing.T) {
	t.Parallel()
	p := always(pod("stubborn", "stubborn"))
	long := int64(3600)
	p.Spec.TerminationGracePeriodSeconds = &long
	made := create(t, p)
	wait(t, "stubborn", "ready", ready)
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), "stubborn", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	told(t, "stubborn", "Stopping container main")
	if p = get(t, "stubborn"); status(p, "main").State.Running == nil || p.Status.Phase != corev1.PodRunning {
		t.Errorf("it does not run: %v", p.Status)
	}
	short := int64(1)
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), "stubborn", metav1.DeleteOptions{GracePeriodSeconds: &short}); err != nil {
		t.Fatal(err)
	}
	gone(t, made)
}

// An ephemeral container joins a pod that runs.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	create(t, always(pod("debugged", "wait")))
	p := wait(t, "debugged", "ready", ready)
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debugger", Image: nodetest.Agent, Args: []string{"echo", "hello from the debugger"},
	}}}
	if _, err := node.Client.CoreV1().Pods("default").UpdateEphemeralContainers(t.Context(), "debugged", p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = wait(t, "debugged", "debugged", func(p *corev1.Pod) bool { return status(p, "debugger").State.Terminated != nil })
	if got := logs(t, "debugged", "debugger"); got != "hello from the debugger\n" {
		t.Errorf("it wrote %q", got)
	}
	if !ready(p) || status(p, "main").RestartCount != 0 {
		t.Errorf("status %v", p.Status)
	}
	told(t, "debugged", "spec.ephemeralContainers{debugger} Container started")
}

// What the pod is told of itself and its network.
func TestHosts(t *testing.T) {
	t.Parallel()
	p := pod("hosts", "cat", "/etc/hosts", "/etc/resolv.conf")
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "123.45.67.89", Hostnames: []string{"foo.local", "bar.local"}}}
	p.Spec.Subdomain, p.Spec.Hostname = "sub", "me"
	got := output(t, p)
	for _, want := range []string{
		"# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n", "\tme.sub.default.svc.cluster.local\tme\n",
		"# Entries added by HostAliases.\n123.45.67.89\tfoo.local\tbar.local\n",
		"nameserver 10.96.0.10\n", "search default.svc.cluster.local svc.cluster.local cluster.local", "options ndots:5\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	name := pod("hostname", "hostname")
	name.Spec.Hostname = "me"
	if got := output(t, name); got != "me\n" {
		t.Errorf("hostname %q", got)
	}
	host := pod("host-network", "cat", "/etc/hosts")
	host.Spec.HostNetwork = true
	if got := output(t, host); !strings.HasPrefix(got, "# Kubernetes-managed hosts file (host network).\n") {
		t.Errorf("hosts %q", got)
	}
	if ip := get(t, "host-network").Status.PodIP; ip != "10.77.1.1" {
		t.Errorf("address %q", ip)
	}
}

// Whom a container runs as, and what it may.
func TestSecurity(t *testing.T) {
	t.Parallel()
	number := func(n int64) *int64 { return &n }
	yes, no := true, false
	p := pod("user", "id")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: number(1001), RunAsGroup: number(2002), FSGroup: number(3003), SupplementalGroups: []int64{4004}}
	if got := output(t, p); !strings.HasPrefix(got, "1001 2002 ") || !strings.Contains(got, "3003") || !strings.Contains(got, "4004") {
		t.Errorf("it is %q", got)
	}
	p = pod("root", "wait")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes}
	create(t, p)
	p = wait(t, "root", "refused", func(p *corev1.Pod) bool {
		w := status(p, "main").State.Waiting
		return w != nil && w.Reason == "CreateContainerConfigError"
	})
	want := fmt.Sprintf("container has runAsNonRoot and image will run as root (pod: %q, container: main)", "root_default("+string(p.UID)+")")
	if got := status(p, "main").State.Waiting.Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	p = pod("read-only", "write", "/file", "x")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes}
	create(t, p)
	wait(t, "read-only", "failed", phase(corev1.PodFailed))
	if got := logs(t, "read-only", "main"); !strings.Contains(got, "read-only file system") {
		t.Errorf("it says %q", got)
	}
	p = pod("sysctl", "cat", "/proc/sys/kernel/shm_rmid_forced")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.shm_rmid_forced", Value: "1"}}}
	if got := output(t, p); got != "1\n" {
		t.Errorf("it reads %q", got)
	}
	p = pod("privileges", "cat", "/proc/self/status")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	if got := output(t, p); !strings.Contains(got, "NoNewPrivs:\t1") || !strings.Contains(got, "CapBnd:\t0000000000000000") || !strings.Contains(got, "Seccomp:\t2") {
		t.Errorf("status\n%s", got)
	}
}

// A readiness gate keeps a pod unready until somebody opens it.
func TestReadinessGate(t *testing.T) {
	t.Parallel()
	p := always(pod("gated", "wait"))
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	create(t, p)
	p = wait(t, "gated", "running", func(p *corev1.Pod) bool { return status(p, "main").Ready })
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && (c.Status != corev1.ConditionFalse || c.Reason != "ReadinessGatesNotReady") {
			t.Errorf("condition %v", c)
		}
	}
	patch := `{"status":{"conditions":[{"type":"example.com/gate","status":"True"}]}}`
	if _, err := node.Client.CoreV1().Pods("default").Patch(t.Context(), "gated", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	wait(t, "gated", "ready", ready)
}
