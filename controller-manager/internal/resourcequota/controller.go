package resourcequota

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/quota"
	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/catalog"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "resourcequota-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "resourcequota",
	ServiceAccount: name, EventSource: name,
	Reads:  []string{"resourcequotas", "pods", "services", "persistentvolumeclaims", "resourceclaims", "customresourcedefinitions", "metadata of resources that quotas count"},
	Writes: []string{"resourcequotas:status"},
	New:    newController,
}

type reconciler struct {
	env         *control.Env
	queue       *workqueue.Queue[cache.Key]
	quotas      *cache.Replica[*corev1.ResourceQuota]
	definitions *cache.Replica[*apiextensionsv1.CustomResourceDefinition]
	catalog     *catalog.Catalog
	weighed     []weighed

	mu sync.Mutex
	// guarded by mu: when each quota's status was last changed by others, and
	// the counters by PLURAL.GROUP.
	charged  map[cache.Key]time.Time
	counters map[string]*counter
	running  sync.WaitGroup
	ctx      context.Context // of the counters, set by run
}

// weighed objects count by what they ask for.
type weighed struct {
	group, plural string
	in            func(namespace string, visit func(runtime.Object))
	synced        cache.Synced
}

func weigh[T scheme.Object](r *reconciler, matters func(old, now T) bool) weighed {
	objects := replica.Of[T](r.env.Replicas)
	objects.OnChange(func(c cache.Change[T]) {
		if c.HasOld && c.HasNew && !matters(c.Old, c.New) {
			return
		}
		r.look(c.Key.Namespace)
	})
	res := objects.Resource()
	return weighed{group: res.Group, plural: res.Plural, synced: objects, in: func(ns string, visit func(runtime.Object)) {
		for o := range objects.Snapshot().In(ns) {
			visit(o)
		}
	}}
}

func newController(e *control.Env) (control.Runner, error) {
	definitions := replica.Of[*apiextensionsv1.CustomResourceDefinition](e.Replicas)
	r := &reconciler{
		env: e, queue: e.Queue("resourcequota_primary"), quotas: replica.Of[*corev1.ResourceQuota](e.Replicas), definitions: definitions,
		catalog: catalog.New(e.Client.Scheme(), definitions), charged: map[cache.Key]time.Time{}, counters: map[string]*counter{},
	}
	r.weighed = []weighed{
		weigh(r, func(old, now *corev1.Pod) bool {
			return pod.Finished(old) != pod.Finished(now) || old.Generation != now.Generation || len(old.Status.ContainerStatuses) != len(now.Status.ContainerStatuses)
		}),
		weigh(r, func(old, now *corev1.Service) bool { return !equality.Semantic.DeepEqual(old.Spec, now.Spec) }),
		weigh(r, func(old, now *corev1.PersistentVolumeClaim) bool {
			return !equality.Semantic.DeepEqual(old.Spec, now.Spec) || !equality.Semantic.DeepEqual(old.Status, now.Status)
		}),
		weigh(r, func(old, now *resourcev1.ResourceClaim) bool { return false }),
	}
	r.quotas.OnChange(func(c cache.Change[*corev1.ResourceQuota]) {
		r.mu.Lock()
		switch {
		case !c.HasNew:
			delete(r.charged, c.Key)
		case c.HasOld && !same(c.Old.Status.Used, c.New.Status.Used):
			r.charged[c.Key] = time.Now()
		}
		r.mu.Unlock()
		if c.HasNew {
			r.queue.Add(c.Key)
		}
	})
	// A resource that a quota names may just have been defined.
	definitions.OnChange(func(cache.Change[*apiextensionsv1.CustomResourceDefinition]) { r.look("") })
	synced := []cache.Synced{r.quotas, definitions}
	for _, w := range r.weighed {
		synced = append(synced, w.synced)
	}
	loop := e.Loop(name, r.queue, e.Config.WorkersOf("resource-quota"), r.reconcile, synced...)
	return control.RunFunc(func(ctx context.Context) error {
		r.mu.Lock()
		r.ctx = ctx
		r.mu.Unlock()
		defer r.running.Wait()
		return daemon.Run(ctx, loop.Run, r.resync)
	}), nil
}

// pause gathers changes that come together.
const pause = 50 * time.Millisecond

// look queues the quotas of a namespace; "" is all.
func (r *reconciler) look(namespace string) {
	quotas := r.quotas.Snapshot()
	each := quotas.In(namespace)
	if namespace == "" {
		each = quotas.All()
	}
	for q := range each {
		r.queue.AddAfter(cache.KeyOf(q), pause)
	}
}

func (r *reconciler) resync(ctx context.Context) error {
	return control.Every(ctx, r.env.Config.QuotaSyncPeriod, func(context.Context) { r.look("") })
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	q, ok := r.quotas.Snapshot().Lookup(key)
	if !ok || q.DeletionTimestamp != nil {
		return nil
	}
	counts, ready := r.counts(q)
	if !ready {
		return nil // the counters that are missing tell when they know
	}
	p := plan(observed{quota: q, used: r.used(q), counts: counts, quiet: r.quiet(key)})
	if p.Status == nil {
		return control.Later(p.Again)
	}
	q = q.DeepCopy()
	q.Status = *p.Status
	_, err := client.UpdateStatus(ctx, r.env.Client, q, client.WriteOptions{OmitObject: true})
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("write the status of quota %s: %w", key, err)
}

func (r *reconciler) quiet(key cache.Key) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.charged[key]
	if !ok {
		return settle
	}
	return time.Since(at)
}

// used adds up what the quota's objects take.
func (r *reconciler) used(q *corev1.ResourceQuota) quota.Amounts {
	sum := quota.Amounts{}
	for _, w := range r.weighed {
		w.in(q.Namespace, func(o runtime.Object) {
			if !quota.InScopes(q, o) {
				return
			}
			for name, n := range quota.Usage(w.group, w.plural, o) {
				if _, ok := q.Spec.Hard[name]; ok {
					quota.Add(sum, name, n)
				}
			}
		})
	}
	return sum
}

// counts are the numbers that the quota asks for; ready is false until all of
// them are known. Resources that are not there count nothing.
func (r *reconciler) counts(q *corev1.ResourceQuota) (out map[corev1.ResourceName]int64, ready bool) {
	out, ready = map[corev1.ResourceName]int64{}, true
	for _, text := range counted(q) {
		c := r.counter(text)
		if c == nil {
			continue
		}
		n, ok := c.count(q.Namespace)
		ready = ready && ok
		for _, name := range quota.Counts(c.resource.Group, c.resource.Plural) {
			out[name] = n
		}
	}
	return out, ready
}

// counter of a resource, which is made when it is first asked for.
func (r *reconciler) counter(text string) *counter {
	for _, w := range r.weighed {
		if text == (catalog.Resource{Group: w.group, Plural: w.plural}).String() {
			return nil
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.counters[text]; c != nil {
		return c
	}
	for _, res := range r.catalog.All() {
		if res.String() != text || !res.Namespaced {
			continue
		}
		c := newCounter(res, r.look)
		r.counters[text] = c
		r.running.Go(func() { c.run(r.ctx, r.env.Replicas.Stream) })
		return c
	}
	return nil
}
