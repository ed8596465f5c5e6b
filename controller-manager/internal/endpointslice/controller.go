package endpointslice

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

const name = "endpointslice-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "endpointslice",
	ServiceAccount: "endpointslice-controller", EventSource: "endpoint-slice-controller",
	Reads:  []string{"services", "pods", "nodes", "endpointslices"},
	Writes: []string{"endpointslices", "endpointslices (endpointslice-controller):endpoints"},
	New:    newController,
}

type reconciler struct {
	env      *control.Env
	services *cache.Replica[*corev1.Service]
	pods     *cache.Replica[*corev1.Pod]
	nodes    *cache.Replica[*corev1.Node]
	slices   *cache.Replica[*discoveryv1.EndpointSlice]
	ledger   *write.Ledger[*discoveryv1.EndpointSlice]
	triggers *Triggers
	queue    *workqueue.Queue[cache.Key]

	mu sync.Mutex
	// told is what was said last about the sharing of endpoints; guarded by mu.
	told map[cache.Key]map[discoveryv1.AddressType]string
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, services: replica.Of[*corev1.Service](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas),
		nodes: replica.Of[*corev1.Node](e.Replicas), slices: replica.Of[*discoveryv1.EndpointSlice](e.Replicas), queue: e.Queue("endpoint_slice"),
		triggers: NewTriggers(), told: map[cache.Key]map[discoveryv1.AddressType]string{},
	}
	r.ledger = write.NewLedger(r.slices)
	r.services.OnChange(func(c cache.Change[*corev1.Service]) { r.queue.Add(c.Key) })
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) { OfPod(r.services.Snapshot(), c, r.queue.Add) })
	r.nodes.OnChange(r.nodeChanged)
	r.slices.OnChange(func(c cache.Change[*discoveryv1.EndpointSlice]) {
		for _, s := range []*discoveryv1.EndpointSlice{c.Old, c.New} {
			if s != nil && s.Labels[discoveryv1.LabelManagedBy] == ManagedBy {
				r.queue.Add(cache.Key{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]})
			}
		}
	})
	return e.Loop(name, r.queue, e.Config.WorkersOf("service-endpoint"), r.reconcile, r.services, r.pods, r.nodes, r.slices), nil
}

// nodeChanged queues the services of a node's pods when the node is new or in
// another zone.
func (r *reconciler) nodeChanged(c cache.Change[*corev1.Node]) {
	if !c.HasOld || !c.HasNew || !sameCapacity(c.Old, c.New) {
		for svc := range r.services.Snapshot().All() {
			if ByCapacity(svc) {
				r.queue.Add(cache.KeyOf(svc))
			}
		}
	}
	zone := corev1.LabelTopologyZone
	if !c.HasNew || c.HasOld && c.Old.Labels[zone] == c.New.Labels[zone] {
		return
	}
	for p := range r.pods.Snapshot().By(replica.PodsByNode, c.Key.Name) {
		for svc := range r.services.Snapshot().In(p.Namespace) {
			if Selects(svc, p.Labels) {
				r.queue.Add(cache.KeyOf(svc))
			}
		}
	}
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	svc, ok := r.services.Snapshot().Lookup(key)
	if !ok || svc.DeletionTimestamp != nil || !Kept(svc) {
		if !ok {
			r.ledger.Forget(key)
			r.triggers.Forget(key)
			r.mu.Lock()
			delete(r.told, key)
			r.mu.Unlock()
		}
		return nil // the slices go with the service that owns them
	}
	if settled, err := r.ledger.Settled(ctx, r.env.Write, key); err != nil {
		return err
	} else if !settled {
		return control.Unsettled()
	}
	pods, have := PodsOf(r.pods.Snapshot(), svc), r.owned(key)
	began, now := r.triggers.Since(svc, pods, len(have) > 0)
	o := observed{svc: svc, pods: pods, slices: have, most: int(r.env.Config.MaxEndpointsPerSlice), trigger: began}
	o.node = func(name string) *corev1.Node {
		n, _ := r.nodes.Get("", name)
		return n
	}
	if ByCapacity(svc) {
		o.capacity = measure(r.nodes.Snapshot().All())
	}
	p := plan(o)
	r.tell(svc, p.Sharing)
	return r.apply(ctx, svc, p, now)
}

// tell records events about what is new about the sharing of endpoints.
func (r *reconciler) tell(svc *corev1.Service, sharing []Sharing) {
	key := cache.KeyOf(svc)
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.told[key]
	delete(r.told, key)
	if len(sharing) == 0 {
		return
	}
	now := map[discoveryv1.AddressType]string{}
	for _, s := range sharing {
		now[s.Family] = s.Message
		switch {
		case before[s.Family] == s.Message:
		case s.OK:
			r.env.Events.Event(svc, control.Normal, hintsEnabled, s.Message)
		default:
			r.env.Events.Event(svc, control.Warning, hintsDisabled, s.Message)
		}
	}
	r.told[key] = now
}

func (r *reconciler) owned(key cache.Key) []*discoveryv1.EndpointSlice {
	all := slices.Collect(r.slices.Snapshot().By(replica.SlicesByService, key.String()))
	return slices.DeleteFunc(all, func(s *discoveryv1.EndpointSlice) bool {
		return s.Labels[discoveryv1.LabelManagedBy] != ManagedBy || s.DeletionTimestamp != nil
	})
}

// missingPause is for nodes that pods name and nobody knows: their coming is
// seen, this is for safety.
const missingPause = 30 * time.Second

func (r *reconciler) apply(ctx context.Context, svc *corev1.Service, p Plan, now Told) error {
	if err := Apply(ctx, r.env, r.ledger, cache.KeyOf(svc), p); err != nil {
		if apierrors.IsConflict(err) {
			return control.Retry(err)
		}
		r.env.Events.Eventf(svc, control.Warning, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service %s/%s: %v", svc.Namespace, svc.Name, err)
		return fmt.Errorf("endpoint slices of service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	r.triggers.Tell(cache.KeyOf(svc), now)
	if len(p.Missing) > 0 {
		return control.Later(missingPause)
	}
	return nil
}

// Apply carries a plan out. Its writes are noted in the ledger under key.
func Apply(ctx context.Context, e *control.Env, l *write.Ledger[*discoveryv1.EndpointSlice], key cache.Key, p Plan) error {
	var writes []*client.Write
	add := func(q *client.Write, err error) error {
		writes = append(writes, q)
		return err
	}
	for _, s := range p.Create {
		if err := add(client.CreateWrite(e.Client, s, client.WriteOptions{OmitObject: true})); err != nil {
			return err
		}
	}
	for _, s := range p.Update {
		if err := add(client.UpdateWrite(e.Client, s, client.WriteOptions{OmitObject: true})); err != nil {
			return err
		}
	}
	for _, s := range p.Delete {
		if err := add(client.DeleteWrite[*discoveryv1.EndpointSlice](e.Client, s.Namespace, s.Name, client.DeleteOptions{UID: s.UID})); err != nil {
			return err
		}
	}
	results := e.Write.All(ctx, writes)
	kept := len(p.Create) + len(p.Update)
	l.Wrote(key, results[:kept]...)
	for i := range results {
		err := results[i].Err
		switch {
		case i >= kept && (err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err)):
			l.Deleted(key, p.Delete[i-kept])
		case err == nil || i >= len(p.Create) && apierrors.IsNotFound(err):
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			return err
		}
	}
	return nil
}
