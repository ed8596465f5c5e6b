package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"xebec.dev/test/cluster"
)

// load creates workloads, one after the other, until it is stopped. An order
// whose answer is lost is given again: its name makes it the same.
type load struct {
	namespace string
	orders    atomic.Int64
	cancel    context.CancelFunc
	done      sync.WaitGroup
}

// Shapes of what is ordered.
const (
	loadReplicas = 2
	loadIndexes  = 3
)

func startLoad(t *testing.T, namespace string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{namespace: namespace, cancel: cancel}
	l.done.Go(func() {
		for i := 0; ctx.Err() == nil; {
			if l.create(ctx, i) {
				i++
				l.orders.Store(int64(i))
			}
			time.Sleep(700 * time.Millisecond)
		}
	})
	t.Cleanup(l.stop)
	return l
}

func (l *load) progress() int { return int(l.orders.Load()) }
func (l *load) stop()         { l.cancel(); l.done.Wait() }

func template(policy corev1.RestartPolicy, labels map[string]string, args ...string) corev1.PodTemplateSpec {
	labels["ordered"] = "yes"
	second := int64(1)
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
		RestartPolicy: policy, TerminationGracePeriodSeconds: &second,
		Containers: []corev1.Container{{Name: "c", Image: busybox, Command: args}},
	}}
}

func name(i int) string { return fmt.Sprintf("order-%d", i) }

// create orders the i-th: each third a Job, a StatefulSet, a Deployment.
func (l *load) create(ctx context.Context, i int) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	meta := metav1.ObjectMeta{Name: name(i)}
	labels := map[string]string{"order": name(i)}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"order": name(i)}}
	replicas, indexes, mode := int32(loadReplicas), int32(loadIndexes), batchv1.IndexedCompletion
	var err error
	switch i % 3 {
	case 0:
		_, err = api.BatchV1().Jobs(l.namespace).Create(ctx, &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{
			Completions: &indexes, Parallelism: &indexes, CompletionMode: &mode,
			Template: template(corev1.RestartPolicyOnFailure, labels, "sleep", "1")}}, metav1.CreateOptions{})
	case 1:
		_, err = api.AppsV1().StatefulSets(l.namespace).Create(ctx, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: selector, ServiceName: "none", Template: template(corev1.RestartPolicyAlways, labels, "sleep", "100000")}}, metav1.CreateOptions{})
	default:
		_, err = api.AppsV1().Deployments(l.namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: selector, Template: template(corev1.RestartPolicyAlways, labels, "sleep", "100000")}}, metav1.CreateOptions{})
	}
	return err == nil || apierrors.IsAlreadyExists(err)
}

// wanted is how many pods the i-th order has, ever.
func wanted(i int) int {
	if i%3 == 0 {
		return loadIndexes
	}
	return loadReplicas
}

// converged waits until all orders are as ordered.
func (l *load) converged(u user) {
	u.t.Helper()
	ctx := u.t.Context()
	for i := range l.progress() {
		u.until("order "+name(i)+" is done", func() error {
			var have int32
			switch i % 3 {
			case 0:
				j, err := api.BatchV1().Jobs(l.namespace).Get(ctx, name(i), metav1.GetOptions{})
				if err != nil {
					return err
				}
				if have = j.Status.Succeeded; j.Status.CompletionTime == nil || j.Status.Failed > 0 {
					return fmt.Errorf("status %+v", j.Status)
				}
			case 1:
				s, err := api.AppsV1().StatefulSets(l.namespace).Get(ctx, name(i), metav1.GetOptions{})
				if err != nil {
					return err
				}
				have = s.Status.ReadyReplicas
			default:
				d, err := api.AppsV1().Deployments(l.namespace).Get(ctx, name(i), metav1.GetOptions{})
				if err != nil {
					return err
				}
				have = d.Status.ReadyReplicas
			}
			if int(have) != wanted(i) {
				return fmt.Errorf("%d of %d", have, wanted(i))
			}
			return nil
		})
	}
	u.t.Logf("%d orders", l.progress())
}

// podsSeen are all pods that were ever seen in a namespace, and what should
// never be seen of a pod.
type podsSeen struct {
	mu     sync.Mutex
	orders map[string]map[string]string // guarded by mu: order → uid → pod
	nodes  map[string]string            // guarded by mu: uid → node
	wrong  []string                     // guarded by mu
}

func watchPods(t *testing.T, namespace string) *podsSeen {
	s := &podsSeen{orders: map[string]map[string]string{}, nodes: map[string]string{}}
	f := informers.NewSharedInformerFactoryWithOptions(api, 0, informers.WithNamespace(namespace))
	if _, err := f.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { s.see(o.(*corev1.Pod)) }, UpdateFunc: func(_, o any) { s.see(o.(*corev1.Pod)) },
	}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	f.Start(stop)
	t.Cleanup(func() { close(stop); f.Shutdown() })
	return s
}

func (s *podsSeen) see(p *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid, order := string(p.UID), p.Labels["order"]
	if order != "" {
		if s.orders[order] == nil {
			s.orders[order] = map[string]string{}
		}
		s.orders[order][uid] = p.Name
	}
	if was := s.nodes[uid]; was != "" && was != p.Spec.NodeName {
		s.wrong = append(s.wrong, fmt.Sprintf("pod %s was bound to %s, then to %q", p.Name, was, p.Spec.NodeName))
	}
	s.nodes[uid] = p.Spec.NodeName
}

// check looks that no order had a pod too many, at any time.
func (s *podsSeen) check(t *testing.T, l *load) {
	t.Helper()
	cluster.Eventually(t, "all orders' pods were seen", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range l.progress() {
			if have := s.orders[name(i)]; len(have) < wanted(i) {
				return fmt.Errorf("%s has pods %v", name(i), have)
			}
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range l.progress() {
		if have := s.orders[name(i)]; len(have) != wanted(i) {
			t.Errorf("%s had %d pods over time, expected %d: %v", name(i), len(have), wanted(i), have)
		}
	}
	for _, w := range s.wrong {
		t.Error(w)
	}
}
