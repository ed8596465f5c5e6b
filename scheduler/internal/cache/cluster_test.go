package cache_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/workload"
)

// After a restart pods may be told of before their nodes, and nodes may go
// before their pods: what is used is counted all the same.
func TestPodsWithoutNodes(t *testing.T) {
	c := cache.New()
	p := c.NewPod(workload.Pod("t", "p"))
	c.Place(p, "n")
	if c.Len() != 0 || c.Node("n") != nil {
		t.Error("a node is there that nobody has told of")
	}
	n := c.SetNode(workload.Node("n", nil))
	if got := c.Used[cache.CPU][n.Index]; got != 100 || c.Used[cache.Pods][n.Index] != 1 {
		t.Errorf("%d millicores used", got)
	}
	c.RemoveNode("n")
	if c.Len() != 0 || c.PlacedLen() != 1 {
		t.Errorf("%d nodes, %d pods", c.Len(), c.PlacedLen())
	}
	n = c.SetNode(workload.Node("n", nil))
	if got := c.Used[cache.CPU][n.Index]; got != 100 {
		t.Errorf("%d millicores used once the node is back", got)
	}
	c.Remove(p)
	c.RemoveNode("n")
	m := c.SetNode(workload.Node("m", nil))
	if m.Index != n.Index || c.Used[cache.CPU][m.Index] != 0 {
		t.Errorf("node m at %d has %d millicores used", m.Index, c.Used[cache.CPU][m.Index])
	}
}

// A change of what nobody schedules by is no change of the node.
func TestUpdateOfStatusAlone(t *testing.T) {
	c := cache.New()
	c.SetNode(workload.Node("n", nil))
	p := workload.Pod("t", "p")
	c.Place(c.NewPod(p), "n")
	before := c.Touched()
	now := p.DeepCopy()
	now.Status.Phase = corev1.PodRunning
	now.Labels = map[string]string{"nobody-asks": "x"}
	c.Update(c.NewPod(now), "n")
	if c.Touched() != before || c.Placed(p.UID).Obj != now {
		t.Error("the node counts as changed, or the pod is the old one")
	}
	grown := now.DeepCopy()
	grown.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("2")
	c.Update(c.NewPod(grown), "n")
	if c.Touched() == before || c.Used[cache.CPU][0] != 2000 {
		t.Errorf("%d millicores used after a resize", c.Used[cache.CPU][0])
	}
}
