package admission

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/worker"
)

// someone is a pod of a name, class and priority; a guaranteed one has its
// requests as limits.
func someone(name, cpu string, important int32, guaranteed bool) *corev1.Pod {
	p := pod(cpu, func(p *corev1.Pod) {
		p.Name, p.UID, p.Spec.Priority = name, types.UID(name), &important
		if guaranteed {
			p.Spec.Containers[0].Resources.Requests["memory"] = resource.MustParse("1Mi")
			p.Spec.Containers[0].Resources.Limits = p.Spec.Containers[0].Resources.Requests
		}
	})
	return p
}

func static(p *corev1.Pod) *corev1.Pod {
	p.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
	p.Spec.Priority = nil
	return p
}

const cluster, onNode = 2000000000, 2000001000

func TestPreempt(t *testing.T) {
	for _, c := range []struct {
		name   string
		pod    *corev1.Pod
		others []*corev1.Pod
		going  []string // "late NAME" is one that should have ended
		change func(*Input)
		want   string // what is decided: empty is that it is taken
	}{
		{"room", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1", 0, false)}, nil, nil, ""},
		{"one has to go", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1500m", 0, false)}, nil, nil, "end a for cpu"},
		{"a static pod", static(someone("p", "1", 0, false)), []*corev1.Pod{someone("a", "1500m", 100, false)}, nil, nil, "end a for cpu"},
		{"one that asks for nothing frees nothing", someone("p", "1", cluster, false), []*corev1.Pod{someone("none", "", 0, false), someone("a", "1500m", 0, true)}, nil, nil, "end a for cpu"},
		{"the class before the priority", someone("p", "1", cluster, false), []*corev1.Pod{someone("sure", "1", 0, true), someone("burst", "1", 10, false)}, nil, nil, "end burst for cpu"},
		{"the priority before the rest", someone("p", "1", cluster, false), []*corev1.Pod{someone("more", "1", 10, false), someone("less", "1", 5, false)}, nil, nil, "end less for cpu"},
		{"one large in place of two", someone("p", "1700m", cluster, false), []*corev1.Pod{someone("small", "200m", 0, false), someone("large", "1800m", 5, false)}, nil, nil, "end large for cpu"},
		{"both", someone("p", "1900m", cluster, false), []*corev1.Pod{someone("a", "900m", 0, false), someone("b", "900m", 5, true)}, nil, nil, "end a b for cpu"},
		{"too many pods", someone("p", "", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "", 5, false), someone("c", "", 4, false)}, nil, nil, "end c for pods"},
		{"what is going is waited for", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "1", 0, false)}, []string{"b"}, nil, "wait"},
		{"and counts", someone("p", "2", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "1", 0, false)}, []string{"b"}, nil, "end a for cpu"},
		{"nobody goes for one that does not end", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "1", 5, false)}, []string{"late a"}, nil, ""},
		{"unless it has too little", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "500m", 0, false), someone("b", "1500m", 5, false)}, []string{"late a"}, nil, "end b for cpu"},
		{"which has what it has", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "500m", 0, false)}, []string{"late a", "b"}, nil, "wait"},
		{"nobody waits for it", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1500m", 0, false)}, []string{"late a"}, nil, ""},
		{"others go beside it", someone("p", "1800m", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "900m", 0, false)}, []string{"late a"}, nil, "end b for cpu"},
		{"or are waited for", someone("p", "1800m", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "900m", 0, false)}, []string{"late a", "b"}, nil, "wait"},
		{"its end would not be enough", someone("p", "2", cluster, false), []*corev1.Pod{someone("a", "1", 0, false), someone("b", "500m", cluster, false)}, []string{"late a"}, nil,
			"UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1500), ]"},
		{"nor does a static pod", static(someone("p", "1", 0, false)), []*corev1.Pod{someone("a", "1500m", 0, false)}, []string{"late a"}, nil, ""},
		{"nor one that is not critical", someone("p", "1", 0, false), []*corev1.Pod{someone("a", "1500m", 0, false)}, []string{"late a"}, nil, "OutOfcpu: "},
		{"critical pods stay", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1500m", cluster, false)}, nil, nil,
			"UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 500), ]"},
		{"but for those that are more so", someone("p", "1", onNode, false), []*corev1.Pod{someone("a", "1500m", cluster, false)}, nil, nil, "end a for cpu"},
		{"static ones always", someone("p", "1", onNode, false), []*corev1.Pod{static(someone("a", "1500m", 0, false))}, nil, nil, "UnexpectedAdmissionError: "},
		{"a static one comes all the same", static(someone("p", "1", 0, false)), []*corev1.Pod{static(someone("a", "1500m", 0, false))}, nil, nil, ""},
		{"nobody goes for a pod that is not critical", someone("p", "1", 1000, false), []*corev1.Pod{someone("a", "1500m", 0, false)}, nil, nil, "OutOfcpu: "},
		{"nobody goes for one that could not stay", someone("p", "1", cluster, false), []*corev1.Pod{someone("a", "1500m", 0, false)}, nil, func(in *Input) {
			in.Pod.Spec.NodeSelector = map[string]string{"zone": "b"}
		}, "NodeAffinity: "},
	} {
		in := Input{Pod: c.pod, Others: c.others, Node: node(), Going: map[types.UID]worker.Going{}}
		for _, name := range c.going {
			name, late := strings.CutPrefix(name, "late ")
			in.Going[types.UID(name)] = worker.Ends
			if late {
				in.Going[types.UID(name)] = worker.Late
			}
		}
		if c.change != nil {
			c.change(&in)
		}
		d := Decide(in)
		got := ""
		switch {
		case d.Refusal != nil:
			got = d.Refusal.Reason + ": " + d.Refusal.Message
		case len(d.Victims) > 0:
			var names []string
			for _, v := range d.Victims {
				names = append(names, v.Name)
			}
			slices.Sort(names)
			got = fmt.Sprintf("end %s for %s", strings.Join(names, " "), d.Short)
		case d.Wait:
			got = "wait"
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
