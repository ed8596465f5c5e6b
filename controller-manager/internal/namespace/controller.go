package namespace

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/catalog"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "namespace-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "namespace",
	ServiceAccount: "namespace-controller", EventSource: "namespace-controller",
	Reads:  []string{"namespaces", "pods", "customresourcedefinitions", "metadata of all namespaced resources"},
	Writes: []string{"all namespaced resources", "namespaces:status.conditions", "namespaces:spec.finalizers"},
	New:    newController,
}

type reconciler struct {
	env        *control.Env
	catalog    *catalog.Catalog
	namespaces *cache.Replica[*corev1.Namespace]
	pods       *cache.Replica[*corev1.Pod]
	queue      *workqueue.Queue[cache.Key]
}

func newController(e *control.Env) (control.Runner, error) {
	definitions := replica.Of[*apiextensionsv1.CustomResourceDefinition](e.Replicas)
	r := &reconciler{
		env: e, catalog: catalog.New(e.Client.Scheme(), definitions), namespaces: replica.Of[*corev1.Namespace](e.Replicas),
		pods: replica.Of[*corev1.Pod](e.Replicas), queue: e.Queue("namespace"),
	}
	r.namespaces.OnChange(func(c cache.Change[*corev1.Namespace]) {
		if c.HasNew && c.New.DeletionTimestamp != nil {
			r.queue.Add(c.Key)
		}
	})
	// The last pod's end is what a namespace usually waits for.
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		if c.HasNew || !c.HasOld {
			return
		}
		if ns, ok := r.namespaces.Get("", c.Key.Namespace); ok && ns.DeletionTimestamp != nil {
			r.queue.AddAfter(cache.Key{Name: c.Key.Namespace}, podsPause)
		}
	})
	return e.Loop(name, r.queue, e.Config.WorkersOf("namespace"), r.reconcile, r.namespaces, r.pods, definitions), nil
}

// podsPause lets the ends of many pods come together.
const podsPause = 100 * time.Millisecond

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	ns, ok := r.namespaces.Snapshot().Lookup(key)
	if !ok || ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return nil
	}
	left := r.empty(ctx, ns.Name)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ns, err := r.report(ctx, ns, &left)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return control.Retry(err)
	}
	if !left.empty() {
		if len(left.failures) > 0 {
			return fmt.Errorf("empty namespace %s: %s", ns.Name, failed(left.failures))
		}
		return control.Later(again(&left))
	}
	return r.finalize(ctx, ns)
}

// report writes the conditions, and gives the namespace as it is then.
func (r *reconciler) report(ctx context.Context, ns *corev1.Namespace, left *remains) (*corev1.Namespace, error) {
	now := ns.DeepCopy()
	changed := merge(&now.Status, time.Now(), conditions(left))
	if now.Status.Phase != corev1.NamespaceTerminating {
		now.Status.Phase, changed = corev1.NamespaceTerminating, true
	}
	if !changed {
		return ns, nil
	}
	return client.UpdateStatus(ctx, r.env.Client, now)
}

// finalize lets the namespace go.
func (r *reconciler) finalize(ctx context.Context, ns *corev1.Namespace) error {
	now := ns.DeepCopy()
	now.Spec.Finalizers = slices.DeleteFunc(now.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	_, err := client.Update(ctx, r.env.Client, now, client.WriteOptions{Subresource: "finalize", OmitObject: true})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return control.Retry(err)
}

// parallel is how many resources are looked at side by side.
const parallel = 8

// empty tells everything in a namespace to go and says what is left. Pods go
// before the rest: what they use must not end before them.
func (r *reconciler) empty(ctx context.Context, namespace string) remains {
	left := remains{counts: map[string]int{}, finalizers: map[string]int{}}
	var rest []catalog.Resource
	for _, res := range r.catalog.All() {
		if !res.Namespaced {
			continue
		}
		if res.Group == "" && res.Plural == "pods" {
			r.emptyOf(ctx, namespace, res, &left, nil)
			continue
		}
		rest = append(rest, res)
	}
	if !left.empty() {
		left.wait = r.podsTake(namespace)
		return left
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	places := make(chan struct{}, parallel)
	for _, res := range rest {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			r.emptyOf(ctx, namespace, res, &left, &mu)
		})
	}
	running.Wait()
	return left
}

// emptyOf deletes a namespace's objects of one resource and notes what stays.
// mu guards left; nil when nobody else has it.
func (r *reconciler) emptyOf(ctx context.Context, namespace string, res catalog.Resource, left *remains, mu *sync.Mutex) {
	if mu == nil {
		mu = &sync.Mutex{}
	}
	note := func(err error) {
		// Not served, or not any more.
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		left.failures = append(left.failures, fmt.Sprintf("%s: %v", res, err))
	}
	at := client.Selection{Namespace: namespace}
	items, _, err := client.ListMetadata(ctx, r.env.Client, res.Wire(), at)
	if err != nil || len(items) == 0 {
		note(err)
		return
	}
	if _, err := client.DeleteAllOf(ctx, r.env.Client, res.Wire(), at, client.DeleteOptions{Propagation: metav1.DeletePropagationBackground}); err != nil {
		note(err)
	}
	if items, _, err = client.ListMetadata(ctx, r.env.Client, res.Wire(), at); err != nil || len(items) == 0 {
		note(err)
		return
	}
	mu.Lock()
	defer mu.Unlock()
	left.counts[wireName(res)] += len(items)
	for _, m := range items {
		for _, f := range m.Finalizers {
			left.finalizers[f]++
		}
	}
}

// podsTake is the longest grace period of the pods that are ending; pods that
// have ended, or were never bound to a node, take none.
func (r *reconciler) podsTake(namespace string) time.Duration {
	longest := int64(0)
	for p := range r.pods.Snapshot().In(namespace) {
		if pod.Finished(p) || p.Spec.NodeName == "" {
			continue
		}
		if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
			longest = max(longest, *s)
		}
	}
	return time.Duration(longest) * time.Second
}

// wireName is how Kubernetes names a resource in these conditions: with the
// dot of an empty group.
func wireName(r catalog.Resource) string { return r.Plural + "." + r.Group }
