package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"xebec.dev/test/kubelet/nodetest"
)

// kubeletStarter makes pods in the API and watches them.
type kubeletStarter struct {
	n *nodetest.Node

	mu      sync.Mutex
	running map[string]chan struct{} // guarded by mu; by name
	gone    map[string]chan struct{} // guarded by mu
}

func newKubelet(ctx context.Context, n *nodetest.Node) (*kubeletStarter, error) {
	k := &kubeletStarter{n: n, running: map[string]chan struct{}{}, gone: map[string]chan struct{}{}}
	for {
		node, err := n.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err == nil && len(node.Status.Conditions) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	w, err := n.Client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	go func() {
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok {
				k.seen(e.Type, p)
			}
		}
	}()
	return k, nil
}

func (k *kubeletStarter) seen(kind watch.EventType, p *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kind == watch.Deleted {
		if ch := k.gone[p.Name]; ch != nil {
			close(ch)
			delete(k.gone, p.Name)
		}
		return
	}
	if ch := k.running[p.Name]; ch != nil && p.Status.Phase == corev1.PodRunning {
		close(ch)
		delete(k.running, p.Name)
	}
}

// patience with one pod.
const patience = time.Minute

func (k *kubeletStarter) expect(at map[string]chan struct{}, name string) chan struct{} {
	ch := make(chan struct{})
	k.mu.Lock()
	at[name] = ch
	k.mu.Unlock()
	return ch
}

func await(ctx context.Context, ch chan struct{}, what string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s", what), ctx.Err())
	}
}

func (k *kubeletStarter) start(ctx context.Context, name string) error {
	ch := k.expect(k.running, name)
	grace, no := int64(1), false
	_, err := k.n.Client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: k.n.Name, TerminationGracePeriodSeconds: &grace, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "main", Image: nodetest.Agent, Args: []string{"wait"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return await(ctx, ch, "pod "+name+" does not run")
}

func (k *kubeletStarter) remove(ctx context.Context, name string) error {
	ch := k.expect(k.gone, name)
	if err := k.n.Client.CoreV1().Pods("default").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return await(ctx, ch, "pod "+name+" does not go")
}
