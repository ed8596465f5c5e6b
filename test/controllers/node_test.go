package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// heart lets a node live as its kubelet would: it renews the node's lease, and
// its status when somebody thinks that it is dead.
func (c *cluster) heart(t testing.TB, node string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	leases := c.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	beat := func() {
		now := metav1.NowMicro()
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &node, RenewTime: &now}}
		if have, err := leases.Get(ctx, node, metav1.GetOptions{}); err == nil {
			l.ResourceVersion = have.ResourceVersion
			_, _ = leases.Update(ctx, l, metav1.UpdateOptions{}) // the next one comes soon
		} else {
			_, _ = leases.Create(ctx, l, metav1.CreateOptions{})
		}
		n, err := c.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err == nil && readyStatus(n) != corev1.ConditionTrue {
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
			_, _ = c.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
		}
	}
	running.Go(func() {
		for ctx.Err() == nil {
			beat()
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

// kill stops a node: its pods stay as they are.
func (d *driver) kill(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead == nil {
		d.dead = map[string]bool{}
	}
	d.dead[node] = true
}

// revive lets it see what has happened since.
func (d *driver) revive(t testing.TB, node string) {
	t.Helper()
	d.mu.Lock()
	delete(d.dead, node)
	d.mu.Unlock()
	l, err := d.c.pods(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range l {
		if l[i].Spec.NodeName == node {
			d.one(t.Context(), &l[i])
		}
	}
}

func readyStatus(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

func (c *cluster) node(t testing.TB, name, what string, ok func(n *corev1.Node) bool) *corev1.Node {
	t.Helper()
	var last *corev1.Node
	eventually(t, what, func() error {
		n, err := c.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !ok(n) {
			err = fmt.Errorf("conditions %+v, taints %+v", n.Status.Conditions, n.Spec.Taints)
		}
		last = n
		return err
	})
	return last
}

func tainted(n *corev1.Node, key string, effect corev1.TaintEffect) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key && t.Effect == effect && t.TimeAdded != nil })
}

// podOn makes a pod bound to a node that tolerates its loss for a time.
func (c *cluster) podOn(t testing.TB, ns, name, node string, seconds int64) {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "x"}}}}
	for _, key := range []string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady} {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds})
	}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pod "+name+" is ready", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !podReady(p) {
			err = errors.New("it is not")
		}
		return err
	})
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// TestNodeLoss: a node falls silent, is tainted, loses its pods and comes back.
func TestNodeLoss(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.manage("--node-monitor-grace-period=3s", "--node-monitor-period=300ms", "--node-eviction-rate=10")
	d := c.drive(t, "n1", "n2", "n3")
	ns := c.namespace(t)
	c.heart(t, "n1")
	c.heart(t, "n3")
	stop := c.heart(t, "n2")
	c.event(t, "default", "n2", "node-controller", "RegisteredNode", "Node n2 event: Registered Node n2 in Controller")
	c.node(t, "n2", "labels", func(n *corev1.Node) bool {
		return !tainted(n, corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule)
	})
	c.podOn(t, ns, "short", "n2", 1)
	c.podOn(t, ns, "long", "n2", 3600)
	c.podOn(t, ns, "elsewhere", "n1", 0)
	stop()
	d.kill("n2")

	n := c.node(t, "n2", "unknown", func(n *corev1.Node) bool { return readyStatus(n) == corev1.ConditionUnknown })
	for _, cond := range n.Status.Conditions {
		switch {
		case cond.Type == corev1.NodeReady && (cond.Reason != "NodeStatusUnknown" || cond.Message != "Kubelet stopped posting node status."),
			cond.Type != corev1.NodeReady && (cond.Reason != "NodeStatusNeverUpdated" || cond.Message != "Kubelet never posted node status."):
			t.Errorf("condition %+v", cond)
		}
	}
	c.event(t, "default", "n2", "node-controller", "NodeNotReady", "Node n2 status is now: NodeNotReady")
	c.node(t, "n2", "taints", func(n *corev1.Node) bool {
		return tainted(n, corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule) && tainted(n, corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	})
	eventually(t, "the pod that stays is not ready", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "long", metav1.GetOptions{})
		if err == nil && podReady(p) {
			err = errors.New("it is")
		}
		return err
	})
	c.event(t, ns, "long", "node-controller", "NodeNotReady", "Node is not ready")
	c.event(t, ns, "short", "taint-eviction-controller", "TaintManagerEviction", "Marking for deletion Pod "+ns+"/short")
	eventually(t, "the pod whose time is up is deleted", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "short", metav1.GetOptions{})
		if err == nil && p.DeletionTimestamp == nil {
			err = errors.New("it is not")
		}
		return err
	})

	d.revive(t, "n2")
	c.heart(t, "n2")
	c.node(t, "n2", "no taints", func(n *corev1.Node) bool {
		return readyStatus(n) == corev1.ConditionTrue && len(n.Spec.Taints) == 0
	})
	c.event(t, ns, "long", "taint-eviction-controller", "TaintManagerEviction", "Cancelling deletion of Pod "+ns+"/long")
	if _, err := c.CoreV1().Pods(ns).Get(t.Context(), "elsewhere", metav1.GetOptions{}); err != nil {
		t.Errorf("a pod of another node: %v", err)
	}
}

// nodeTaints: conditions and cordons become taints, a taint of one's own evicts
// with a condition that says why.
func nodeTaints(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	d := &driver{c: c}
	name := "taints-" + ns
	d.addNode(t, name, map[string]string{"kubernetes.io/os": "linux"})
	c.node(t, name, "the old label", func(n *corev1.Node) bool { return n.Labels["beta.kubernetes.io/os"] == "linux" })
	c.kubectl(t, "", "", "cordon", name)
	c.node(t, name, "a cordon", func(n *corev1.Node) bool {
		return tainted(n, corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	})
	c.kubectl(t, "", "", "uncordon", name)
	c.node(t, name, "no cordon", func(n *corev1.Node) bool { return len(n.Spec.Taints) == 0 })
	c.kubectl(t, "", `{"status":{"conditions":[{"type":"DiskPressure","status":"True"},{"type":"NetworkUnavailable","status":"True"}]}}`,
		"patch", "node", name, "--subresource=status", "--patch-file=/dev/stdin")
	c.node(t, name, "pressure", func(n *corev1.Node) bool {
		return tainted(n, corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule) && tainted(n, corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	})
	c.podOn(t, ns, "victim", name, 3600)
	// Held by a finalizer, to be looked at.
	c.kubectl(t, ns, "", "patch", "pod/victim", "-p", `{"metadata":{"finalizers":["test.example/hold"]}}`)
	c.kubectl(t, "", "", "taint", "node", name, "mine=yes:NoExecute")
	eventually(t, "eviction", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "victim", metav1.GetOptions{})
		if err == nil && p.DeletionTimestamp == nil {
			err = errors.New("it stays")
		}
		if err == nil && !slices.ContainsFunc(p.Status.Conditions, func(x corev1.PodCondition) bool {
			return x.Type == corev1.DisruptionTarget && x.Status == corev1.ConditionTrue && x.Reason == "DeletionByTaintManager" && x.Message == "Taint manager: deleting due to NoExecute taint"
		}) {
			err = fmt.Errorf("conditions %+v", p.Status.Conditions)
		}
		return err
	})
	c.kubectl(t, ns, "", "patch", "pod/victim", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}
