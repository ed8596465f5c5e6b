package controllers

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Annotations by which a test's pod template says how its pods fare.
const (
	// exitKey ends pods with this code instead of running them.
	exitKey = "test/exit"
	// holdKey leaves pods pending.
	holdKey = "test/hold"
	// unreadyKey runs pods that don't get ready.
	unreadyKey = "test/unready"
)

// driver binds pods to nodes and runs them, in a way: it sets their status.
type driver struct {
	c     *cluster
	nodes []string

	mu   sync.Mutex
	next int             // guarded by mu
	dead map[string]bool // guarded by mu: nodes that do nothing
}

// drive makes nodes and runs pods on them until the test ends.
func (c *cluster) drive(t testing.TB, nodes ...string) *driver {
	t.Helper()
	d := &driver{c: c, nodes: nodes}
	for _, n := range nodes {
		d.addNode(t, n, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return d
}

func (d *driver) addNode(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}
	for k, v := range labels {
		n.Labels[k] = v
	}
	if _, err := d.c.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Controllers write to a new node too: the status goes onto what there is.
	eventually(t, "a ready status", func() error {
		n, err := d.c.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		_, err = d.c.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{})
		return err
	})
	// As when it is ready. Where nodes are watched over, their controller may
	// be faster.
	eventually(t, "no taints", func() error {
		n, err := d.c.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || len(n.Spec.Taints) == 0 {
			return err
		}
		n.Spec.Taints = nil
		_, err = d.c.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{})
		return err
	})
}

func (d *driver) run(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := d.c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			time.Sleep(50 * time.Millisecond) // the server is about to come back, or the test to end
			continue
		}
		for i := range l.Items {
			d.one(ctx, &l.Items[i])
		}
		w, err := d.c.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{ResourceVersion: l.ResourceVersion})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && (e.Type == watch.Added || e.Type == watch.Modified) {
				d.one(ctx, p)
			}
		}
	}
}

// one takes a pod a step further. What fails is tried again with the next
// change; the API server refuses what is of yesterday.
func (d *driver) one(ctx context.Context, p *corev1.Pod) {
	d.mu.Lock()
	dead := d.dead[p.Spec.NodeName]
	d.mu.Unlock()
	if dead {
		return
	}
	pods := d.c.CoreV1().Pods(p.Namespace)
	_, hold := p.Annotations[holdKey]
	switch {
	case p.DeletionTimestamp != nil:
		if p.DeletionGracePeriodSeconds == nil || *p.DeletionGracePeriodSeconds > 0 {
			zero := int64(0)
			_ = pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.UID}})
		}
	case hold:
	case p.Spec.NodeName == "":
		node := d.nodeFor(p)
		if node == "" {
			return
		}
		_ = pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
	case p.Status.Phase == corev1.PodPending || p.Status.Phase == corev1.PodRunning:
		next := d.status(p)
		if next != nil {
			p = p.DeepCopy()
			p.Status = *next
			_, _ = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
		}
	}
}

// nodeFor a pod is the one that its affinity names, or any.
func (d *driver) nodeFor(p *corev1.Pod) string {
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, t := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, f := range t.MatchFields {
				return f.Values[0]
			}
		}
	}
	if len(d.nodes) == 0 {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return d.nodes[d.next%len(d.nodes)]
}

// status is what comes next for a bound pod; nil is nothing.
func (d *driver) status(p *corev1.Pod) *corev1.PodStatus {
	s := p.Status.DeepCopy()
	now := metav1.Now()
	if code, ok := p.Annotations[exitKey]; ok {
		n, _ := strconv.Atoi(code) // the test's own
		s.Phase = corev1.PodSucceeded
		if n != 0 {
			s.Phase = corev1.PodFailed
		}
		s.ContainerStatuses = nil
		for _, c := range p.Spec.Containers {
			s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(n), StartedAt: now, FinishedAt: now},
			}})
		}
		return s
	}
	ready := corev1.ConditionTrue
	if _, ok := p.Annotations[unreadyKey]; ok {
		ready = corev1.ConditionFalse
	}
	for _, c := range s.Conditions {
		if c.Type == corev1.PodReady && c.Status == ready && s.Phase == corev1.PodRunning {
			return nil
		}
	}
	s.Phase = corev1.PodRunning
	s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: now}}
	if s.PodIP == "" {
		d.mu.Lock()
		d.next++
		s.PodIP = fmt.Sprintf("10.1.%d.%d", d.next/250%250, d.next%250+1)
		d.mu.Unlock()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	return s
}
