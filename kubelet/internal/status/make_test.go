package status

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
)

var update = flag.Bool("update", false, "write what statuses are now")

var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Cases are lines of facts, ----, and the status in short. A blank line ends
// a case.
func TestGolden(t *testing.T) {
	const path = "testdata/status.txt"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, c := range strings.Split(strings.TrimSpace(string(raw)), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		given, _, ok := strings.Cut(c+"\n", "----\n")
		if !ok {
			t.Fatalf("a case without ----:\n%s", c)
		}
		in := parse(t, given)
		out.WriteString(given + "----\n" + show(Make(in)))
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != string(raw) {
		t.Errorf("statuses differ (-update writes them); now\n%s", out.String())
	}
}

func show(s *corev1.PodStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", s.Phase)
	if s.Reason != "" {
		fmt.Fprintf(&b, " %s: %s", s.Reason, s.Message)
	}
	if s.PodIP != "" {
		fmt.Fprintf(&b, " %s", s.PodIP)
	}
	b.WriteString("\n")
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&b, "%s %s", c.Name, state(c.State))
			if c.LastTerminationState.Terminated != nil {
				fmt.Fprintf(&b, " before %s", state(c.LastTerminationState))
			}
			if c.Ready {
				b.WriteString(" ready")
			}
			if c.Started != nil && *c.Started {
				b.WriteString(" started")
			}
			if c.RestartCount > 0 {
				fmt.Fprintf(&b, " restarts=%d", c.RestartCount)
			}
			b.WriteString("\n")
		}
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "%s=%s", c.Type, c.Status)
		if c.Reason != "" {
			fmt.Fprintf(&b, " %s", c.Reason)
		}
		if c.Message != "" {
			fmt.Fprintf(&b, ": %s", c.Message)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func state(s corev1.ContainerState) string {
	switch {
	case s.Waiting != nil:
		return "waiting(" + s.Waiting.Reason + ")"
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated(%s %d)", s.Terminated.Reason, s.Terminated.ExitCode)
	}
	return "none"
}

func parse(t *testing.T, text string) Input {
	t.Helper()
	in := Input{Pod: &corev1.Pod{}, Observed: &runtime.Pod{}, Runtime: "containerd", HostIPs: []string{"192.0.2.1"}, Waiting: map[string]Waiting{},
		Ready: map[string]bool{}, Started: map[string]bool{}, Begun: clock, Now: clock}
	in.Pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	always := corev1.ContainerRestartPolicyAlways
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		spec := &in.Pod.Spec
		switch f[0] {
		case "policy":
			spec.RestartPolicy = corev1.RestartPolicy(f[1])
		case "container":
			spec.Containers = append(spec.Containers, corev1.Container{Name: f[1]})
		case "init":
			spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: f[1]})
		case "sidecar":
			spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: f[1], RestartPolicy: &always})
			if len(f) > 2 && f[2] == "probed" {
				spec.InitContainers[len(spec.InitContainers)-1].StartupProbe = &corev1.Probe{}
			}
		case "gate":
			spec.ReadinessGates = append(spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: corev1.PodConditionType(f[1])})
		case "condition":
			in.Pod.Status.Conditions = append(in.Pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodConditionType(f[1]), Status: corev1.ConditionStatus(f[2])})
		case "phase":
			in.Pod.Status.Phase = corev1.PodPhase(f[1])
		case "reason":
			in.Pod.Status.Reason, in.Pod.Status.Message = f[1], strings.Join(f[2:], " ")
		case "sandbox":
			in.Observed.Sandboxes = []*runtime.Sandbox{{ID: "s", Ready: f[1] == "ready", IPs: []string{"10.0.0.1"}}}
		case "run":
			observed(t, &in, f)
		case "was":
			in.Pod.Status.ContainerStatuses = append(in.Pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: f[1], RestartCount: 3, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
		case "started": // a sidecar that had
			yes := true
			in.Pod.Status.InitContainerStatuses = append(in.Pod.Status.InitContainerStatuses, corev1.ContainerStatus{Name: f[1], Started: &yes, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
		case "waiting":
			in.Waiting[f[1]] = Waiting{Reason: f[2]}
		case "ended":
			in.Ending, in.Ended = true, true
		case "verdict":
			in.Verdict = &Verdict{Phase: corev1.PodFailed, Reason: f[1], Message: strings.Join(f[2:], " ")}
			if f[1] == "Evicted" {
				in.Verdict.Disrupted = corev1.PodReasonTerminationByKubelet
			}
		default:
			t.Fatalf("%q is no fact", line)
		}
	}
	return in
}

// observed is a line "run NAME running|created|exited=CODE [ready] [started]".
func observed(t *testing.T, in *Input, f []string) {
	t.Helper()
	c := &runtime.Container{Name: f[1], ID: fmt.Sprint(f[1], len(in.Observed.Containers)), SandboxID: "s", Started: clock.Add(-time.Minute)}
	name, code, _ := strings.Cut(f[2], "=")
	c.State = runtime.State(name)
	if code != "" {
		if _, err := fmt.Sscan(code, &c.ExitCode); err != nil {
			t.Fatal(err)
		}
		c.Finished = clock
	}
	for _, o := range f[3:] {
		switch o {
		case "ready":
			in.Ready[c.ID] = true
		case "started":
			in.Started[c.ID] = true
		default:
			if _, err := fmt.Sscanf(o, "restarts=%d", &c.RestartCount); err != nil {
				t.Fatal(err)
			}
		}
	}
	in.Observed.Containers = append(in.Observed.Containers, c)
}

// A condition keeps its time while it keeps its status.
func TestTransitions(t *testing.T) {
	in := parse(t, "container a\nsandbox ready\nrun a running started")
	first := Make(in)
	in.Pod.Status, in.Now = *first, clock.Add(time.Hour)
	in.Pod.Status.Phase = corev1.PodRunning
	again := Make(in)
	for i := range again.Conditions {
		if !again.Conditions[i].LastTransitionTime.Equal(&first.Conditions[i].LastTransitionTime) {
			t.Errorf("%s moved", again.Conditions[i].Type)
		}
	}
	in.Ready["a0"] = true
	ready := Make(in)
	for _, c := range ready.Conditions {
		moved := c.LastTransitionTime.Time.Equal(in.Now)
		if want := c.Type == corev1.PodReady || c.Type == corev1.ContainersReady; moved != want {
			t.Errorf("%s moved: %t", c.Type, moved)
		}
	}
}

// Merging keeps what is others'.
func TestMerge(t *testing.T) {
	ours := &corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: "example.com/gate", Status: corev1.ConditionFalse}}}
	api := &corev1.PodStatus{NominatedNodeName: "n", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: "example.com/gate", Status: corev1.ConditionTrue}, {Type: "example.com/other", Status: corev1.ConditionTrue}}}
	got := Merge(ours, api)
	want := map[corev1.PodConditionType]corev1.ConditionStatus{corev1.PodReady: "True", "example.com/gate": "True", "example.com/other": "True"}
	if len(got.Conditions) != len(want) || got.NominatedNodeName != "n" || got.Phase != corev1.PodRunning {
		t.Errorf("%v", got)
	}
	for _, c := range got.Conditions {
		if want[c.Type] != c.Status {
			t.Errorf("%s is %s", c.Type, c.Status)
		}
	}
}
