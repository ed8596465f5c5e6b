package nodeports

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/workload"
)

func port(ip string, n int32, proto corev1.Protocol) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostIP: ip, HostPort: n, Protocol: proto}}
	}
}

func TestPorts(t *testing.T) {
	for _, tt := range []struct {
		there, wanted func(*corev1.Pod)
		free          bool
	}{
		{port("", 80, "TCP"), port("", 80, "TCP"), false},
		{port("", 80, "TCP"), port("", 81, "TCP"), true},
		{port("", 80, "TCP"), port("", 80, "UDP"), true},
		{port("10.0.0.1", 80, "TCP"), port("10.0.0.2", 80, "TCP"), true},
		{port("10.0.0.1", 80, "TCP"), port("", 80, "TCP"), false},
		{port("0.0.0.0", 80, "TCP"), port("10.0.0.2", 80, ""), false},
	} {
		c := cache.New()
		c.SetNode(workload.Node("n", nil))
		there := c.NewPod(workload.Pod("t", "there", tt.there))
		c.Place(there, "n")
		compiled, st := Plugin{}.PreFilter(c, c.NewPod(workload.Pod("t", "p", tt.wanted)))
		if st != nil {
			t.Fatal(st)
		}
		if got := compiled.Filter.Filter(c.Node("n")) == nil; got != tt.free {
			t.Errorf("beside %+v: free %v", there.Shape.Ports, got)
		}
		c.Remove(there)
		if st := compiled.Filter.Filter(c.Node("n")); st != nil {
			t.Errorf("after the pod has gone: %v", st)
		}
	}
	if _, st := (Plugin{}).PreFilter(nil, cache.New().NewPod(workload.Pod("t", "p"))); !st.Is(framework.Skip) {
		t.Errorf("a pod without host ports: %v", st)
	}
}
