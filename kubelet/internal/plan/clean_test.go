package plan

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Where room is needed runs go that others have followed, with their sandboxes;
// else the last that ended stays.
func TestPurge(t *testing.T) {
	run := func(name, id, sandbox string, state runtime.State) *runtime.Container {
		return &runtime.Container{Name: name, ID: id, SandboxID: sandbox, State: state}
	}
	seen := &runtime.Pod{
		Containers: []*runtime.Container{
			run("a", "a3", "s2", runtime.Running), run("b", "b2", "s2", runtime.Exited), run("c", "c2", "s2", runtime.Created), run("c", "c1", "s2", runtime.Exited),
			run("a", "a2", "s2", runtime.Exited), run("a", "a1", "s1", runtime.Exited), run("b", "b1", "s1", runtime.Exited), run("d", "d2", "s2", runtime.Exited), run("d", "d1", "s0", runtime.Running),
		},
		Sandboxes: []*runtime.Sandbox{{ID: "s2", Ready: true}, {ID: "s1"}, {ID: "s0"}},
	}
	if got, want := (&Plan{Actions: Purge(seen)}).String(), "remove a a2\nremove a a1\nremove b b1\nremove sandbox s1\n"; got != want {
		t.Errorf("purged:\n%swant\n%s", got, want)
	}
	p := &planner{in: Input{Pod: &corev1.Pod{}, Observed: seen}, out: &Plan{}}
	p.clean()
	if got, want := p.out.String(), "remove a a1\nremove b b1\nremove sandbox s1\n"; got != want {
		t.Errorf("cleaned:\n%swant\n%s", got, want)
	}
	if got := Purge(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}
