package node

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var update = flag.Bool("update", false, "write what statuses are now")

var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Cases are lines of facts, ----, and the status in short. A blank line ends a
// case; a line "then" is a status over the one before.
func TestStatus(t *testing.T) {
	const path = "testdata/status.txt"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range strings.Split(strings.TrimSpace(string(raw)), "\n\n") {
		given, _, ok := strings.Cut(c+"\n", "----\n")
		if !ok {
			t.Fatalf("a case without ----:\n%s", c)
		}
		out = append(out, given+"----\n"+run(t, given))
	}
	now := strings.Join(out, "\n")
	if *update {
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if now != string(raw) {
		t.Errorf("statuses differ (-update writes them); now\n%s", now)
	}
}

func run(t *testing.T, text string) string {
	t.Helper()
	status := &corev1.NodeStatus{}
	var b strings.Builder
	for i, step := range strings.Split(text, "then\n") {
		f := facts(t, step, status)
		f.Now = clock.Add(time.Duration(i) * time.Minute)
		next := Status(status, f)
		if i > 0 {
			b.WriteString("then\n")
		}
		b.WriteString(show(next))
		if i > 0 {
			fmt.Fprintf(&b, "due %t ", due(status, next, 0, time.Minute))
		}
		fmt.Fprintf(&b, "events %v\n", changes(status, next))
		status = next
	}
	return b.String()
}

func facts(t *testing.T, text string, status *corev1.NodeStatus) *Facts {
	t.Helper()
	f := &Facts{
		Name: "n1", Hostname: "n1", IPs: []string{"192.0.2.1"}, Host: &Host{MachineID: "m", OS: "Debian"}, Version: "v1", Runtime: "containerd://2", Port: 10250, MaxImages: 2,
		Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")},
		Reserved: corev1.ResourceList{},
	}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) == 0, strings.HasPrefix(w[0], "#"):
		case w[0] == "ips":
			f.IPs = w[1:]
		case w[0] == "reserved":
			f.Reserved[corev1.ResourceName(w[1])] = resource.MustParse(w[2])
		case w[0] == "has":
			f.Capacity[corev1.ResourceName(w[1])] = resource.MustParse(w[2])
		case w[0] == "others": // have written this into the status
			status.Capacity[corev1.ResourceName(w[1])], status.Allocatable[corev1.ResourceName(w[1])] = resource.MustParse(w[2]), resource.MustParse(w[2])
		case w[0] == "condition": // of others
			status.Conditions = append(status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(w[1]), Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(clock)})
		case w[0] == "memory":
			f.Memory = true
		case w[0] == "disk":
			f.Disk = true
		case w[0] == "pids":
			f.PIDs = true
		case w[0] == "external":
			f.External = true
		case w[0] == "not": // ready, because
			f.NotReady = append(f.NotReady, strings.Join(w[1:], " "))
		case w[0] == "image":
			size, err := strconv.ParseUint(w[2], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			f.Images = append(f.Images, &runtimeapi.Image{Id: w[1], RepoTags: w[3:], Size: size})
		default:
			t.Fatalf("%q is not known", line)
		}
	}
	return f
}

func show(s *corev1.NodeStatus) string {
	var b strings.Builder
	for _, a := range s.Addresses {
		fmt.Fprintf(&b, "%s %s\n", a.Type, a.Address)
	}
	var names []string
	for name := range s.Capacity {
		names = append(names, string(name))
	}
	slices.Sort(names)
	for _, name := range names {
		have, can := s.Capacity[corev1.ResourceName(name)], s.Allocatable[corev1.ResourceName(name)]
		fmt.Fprintf(&b, "%s %s of %s\n", name, can.String(), have.String())
	}
	for _, i := range s.Images {
		fmt.Fprintf(&b, "image %v %d\n", i.Names, i.SizeBytes)
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "%s=%s since %s %s: %s\n", c.Type, c.Status, c.LastTransitionTime.Sub(clock), c.Reason, c.Message)
	}
	return b.String()
}

// A status is written when it is another, or after a while.
func TestDue(t *testing.T) {
	ready := func(status corev1.ConditionStatus, at time.Time) *corev1.NodeStatus {
		return &corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(at), LastTransitionTime: metav1.NewTime(at)}}}
	}
	for _, c := range []struct {
		old, next *corev1.NodeStatus
		silent    time.Duration
		want      bool
	}{
		{ready("True", clock), ready("True", clock.Add(time.Second)), time.Second, false},
		{ready("True", clock), ready("True", clock.Add(time.Second)), time.Minute, true},
		{ready("True", clock), ready("False", clock), 0, true},
		{ready("True", clock), &corev1.NodeStatus{}, 0, true},
	} {
		if got := due(c.old, c.next, c.silent, time.Minute); got != c.want {
			t.Errorf("%v after %v, silent for %v: %t", c.next, c.old, c.silent, got)
		}
	}
}

// What a node is registered with, and what one that exists lacks.
func TestNew(t *testing.T) {
	n := New(Spec{Name: "n1", Hostname: "h1", Labels: map[string]string{"zone": "z"}, Taints: []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoExecute}}, ProviderID: "x://1", External: true})
	if n.Name != "n1" || n.Spec.ProviderID != "x://1" || n.Labels["zone"] != "z" || n.Labels[corev1.LabelHostname] != "h1" || n.Labels[corev1.LabelOSStable] != "linux" {
		t.Errorf("%+v", n)
	}
	if len(n.Spec.Taints) != 2 || n.Spec.Taints[1].Key != "node.cloudprovider.kubernetes.io/uninitialized" {
		t.Errorf("taints %v", n.Spec.Taints)
	}
	have := map[string]string{corev1.LabelHostname: "other", corev1.LabelOSStable: "linux", "mine": "x"}
	got := missing(have, map[string]string{corev1.LabelHostname: "h1", corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"})
	if len(got) != 2 || got[corev1.LabelHostname] != "h1" || got[corev1.LabelArchStable] != "amd64" {
		t.Errorf("missing %v", got)
	}
}
