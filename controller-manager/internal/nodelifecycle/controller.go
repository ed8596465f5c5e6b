package nodelifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "node-lifecycle-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "nodelifecycle",
	ServiceAccount: "node-controller", EventSource: "node-controller",
	Reads:  []string{"nodes", "leases (kube-node-lease)", "pods"},
	Writes: []string{"nodes:status.conditions (Unknown)", "nodes:spec.taints", "nodes:metadata.labels (beta.kubernetes.io)", "pods:status.conditions (Ready)"},
	New:    newController,
}

const workers = 8

type reconciler struct {
	env    *control.Env
	nodes  *cache.Replica[*corev1.Node]
	pods   *cache.Replica[*corev1.Pod]
	leases *cache.Replica[*coordinationv1.Lease]
	queue  *workqueue.Queue[cache.Key]
	rates  rates
	moved  chan struct{} // the zones may have changed

	mu sync.Mutex
	// guarded by mu
	heard   map[string]time.Time
	known   map[string]*corev1.Node
	permits permits
	stopped bool
}

func newController(e *control.Env) (control.Runner, error) {
	c := e.Config
	r := &reconciler{
		env: e, nodes: replica.Of[*corev1.Node](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas), queue: e.Queue("node_lifecycle_controller"), moved: make(chan struct{}, 1),
		rates: rates{normal: float64(c.NodeEvictionRate), secondary: float64(c.SecondaryEvictionRate), large: int(c.LargeClusterSize), threshold: float64(c.UnhealthyZoneThreshold)},
		heard: map[string]time.Time{}, known: map[string]*corev1.Node{}, permits: permits{from: map[string]time.Time{}},
	}
	var err error
	r.leases, err = cache.New(e.Replicas.Client, e.Replicas.Stream, cache.Options[*coordinationv1.Lease]{
		Selection: client.Selection{Namespace: corev1.NamespaceNodeLease}, Fields: []string{"spec.renewTime"}, Metrics: e.Replicas.Metrics, Log: e.Log,
	})
	if err != nil {
		return nil, err
	}
	r.leases.OnChange(func(ch cache.Change[*coordinationv1.Lease]) {
		if ch.HasNew && (!ch.HasOld || !ch.Old.Spec.RenewTime.Equal(ch.New.Spec.RenewTime)) {
			r.alive(ch.Key.Name)
		}
	})
	r.nodes.OnChange(func(ch cache.Change[*corev1.Node]) {
		if ch.HasNew && spoke(ch) {
			r.alive(ch.Key.Name)
		}
		r.queue.Add(ch.Key)
		if counts(ch) {
			select {
			case r.moved <- struct{}{}:
			default:
			}
		}
	})
	r.pods.OnChange(func(ch cache.Change[*corev1.Pod]) {
		if !ch.HasNew || ch.New.Spec.NodeName == "" || !pod.Ready(ch.New) {
			return
		}
		if n, ok := r.nodes.Get("", ch.New.Spec.NodeName); ok && status(n, corev1.NodeReady) == corev1.ConditionUnknown {
			r.queue.Add(cache.KeyOf(n))
		}
	})
	loop := e.Loop(name, r.queue, workers, r.reconcile, r.nodes, r.pods, r.leases)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, r.leases.Run, loop.Run, r.survey) }), nil
}

// spoke reports whether a kubelet's status came with a change: not what is
// written here about a silent one.
func spoke(ch cache.Change[*corev1.Node]) bool {
	now := condition(ch.New, corev1.NodeReady)
	if now == nil || now.Status == corev1.ConditionUnknown {
		return false
	}
	if !ch.HasOld {
		return true
	}
	was := condition(ch.Old, corev1.NodeReady)
	return was == nil || was.Status != now.Status || !was.LastHeartbeatTime.Equal(&now.LastHeartbeatTime)
}

func (r *reconciler) alive(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[node] = time.Now()
}

// survey judges the zones whenever a node has come, gone, moved or changed its
// readiness: when all are down evictions end, and when they come back nodes
// get time to say that they do too.
func (r *reconciler) survey(ctx context.Context) error {
	if err := cache.WaitForSync(ctx, r.nodes, r.leases); err != nil {
		return err
	}
	for {
		r.judge()
		select {
		case <-r.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// counts reports whether a node's change may change the state of its zone.
func counts(ch cache.Change[*corev1.Node]) bool {
	return !ch.HasOld || !ch.HasNew || zoneOf(ch.Old) != zoneOf(ch.New) || status(ch.Old, corev1.NodeReady) != status(ch.New, corev1.NodeReady)
}

func (r *reconciler) judge() {
	nodes := r.nodes.Snapshot()
	zones, stopped := survey(nodes.All(), r.rates)
	r.mu.Lock()
	changed := r.stopped != stopped
	r.stopped = stopped
	if changed && !stopped {
		for n := range nodes.All() {
			r.heard[n.Name] = time.Now()
		}
	}
	r.mu.Unlock()
	if !changed {
		return
	}
	r.env.Log.Info("zones have changed", zap.String("zones", describe(zones, stopped)))
	for n := range nodes.All() {
		r.queue.Add(cache.KeyOf(n))
	}
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	n, ok := r.nodes.Snapshot().Lookup(key)
	r.introduce(key.Name, n, ok)
	if !ok {
		return nil
	}
	p := plan(r.observe(n))
	permitted := p.Evict != nil && p.permit(r, n)
	err := r.apply(ctx, n, p)
	if err != nil && permitted {
		r.giveBack(n)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil && !apierrors.IsConflict(err):
		return fmt.Errorf("node %s: %w", n.Name, err)
	case err != nil:
		return control.Retry(err)
	}
	return control.Later(p.Again)
}

// introduce tells of nodes that come and go.
func (r *reconciler) introduce(node string, now *corev1.Node, ok bool) {
	r.mu.Lock()
	was, known := r.known[node]
	switch {
	case ok:
		r.known[node] = now
	default:
		delete(r.known, node)
		delete(r.heard, node)
	}
	r.mu.Unlock()
	if known && (!ok || was.UID != now.UID) {
		r.env.Events.Eventf(was, control.Normal, "RemovingNode", "Node %s event: Removing Node %s from Controller", node, node)
	}
	if ok && (!known || was.UID != now.UID) {
		r.env.Events.Eventf(now, control.Normal, "RegisteredNode", "Node %s event: Registered Node %s in Controller", node, node)
	}
}

func (r *reconciler) observe(n *corev1.Node) observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	heard, ok := r.heard[n.Name]
	if !ok {
		// Found silent: its time runs from now, or from its creation when it
		// never said anything.
		heard = now
		if condition(n, corev1.NodeReady) == nil {
			heard = n.CreationTimestamp.Time
		}
		r.heard[n.Name] = heard
	}
	return observed{node: n, heard: heard, now: now, grace: r.env.Config.NodeMonitorGrace, start: r.env.Config.NodeStartGrace, stopped: r.stopped}
}

// permit makes the eviction a taint to add, if the zone's rate permits it.
func (p *Plan) permit(r *reconciler, n *corev1.Node) bool {
	zones, stopped := survey(r.nodes.Snapshot().All(), r.rates)
	z := zones[zoneOf(n)]
	if stopped || z == nil {
		p.Again = first(p.Again, r.env.Config.NodeMonitorPeriod)
		return false
	}
	r.mu.Lock()
	ok, wait := r.permits.take(zoneOf(n), z.rate, time.Now())
	r.mu.Unlock()
	if !ok {
		p.Again = first(p.Again, wait)
		return false
	}
	p.Add = append(p.Add, *p.Evict)
	return true
}

// giveBack returns a permit whose taint was not written.
func (r *reconciler) giveBack(n *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.permits.from, zoneOf(n))
}

// first of two times of which 0 is none.
func first(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func (r *reconciler) apply(ctx context.Context, n *corev1.Node, p Plan) error {
	if len(p.Conditions) > 0 {
		err := r.patch(ctx, n, "status", map[string]any{"status": map[string]any{"conditions": p.Conditions}})
		if err == nil && p.WasReady {
			r.env.Events.Eventf(n, control.Normal, "NodeNotReady", "Node %s status is now: NodeNotReady", n.Name)
		}
		return err
	}
	change := map[string]any{}
	if len(p.Add)+len(p.Remove) > 0 {
		change["spec"] = map[string]any{"taints": p.taints(n)}
	}
	if len(p.Labels) > 0 {
		change["metadata"] = map[string]any{"labels": p.Labels}
	}
	var err error
	if len(change) > 0 {
		r.env.Log.Debug("node changes", zap.String("node", n.Name), zap.Stringer("plan", p))
		err = r.patch(ctx, n, "", change)
	}
	if p.MarkPods {
		err = errors.Join(r.markPods(ctx, n), err)
	}
	return err
}

// patch changes a node as it was seen: its kubelet may have spoken since.
func (r *reconciler) patch(ctx context.Context, n *corev1.Node, subresource string, change map[string]any) error {
	meta, _ := change["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		change["metadata"] = meta
	}
	meta["uid"], meta["resourceVersion"] = n.UID, n.ResourceVersion
	text, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Node](ctx, r.env.Client, "", n.Name, types.StrategicMergePatchType, text, client.WriteOptions{Subresource: subresource, OmitObject: true})
	return err
}

// markPods takes the readiness from the pods of a node that can't be heard.
func (r *reconciler) markPods(ctx context.Context, n *corev1.Node) error {
	var writes []*client.Write
	var pods []*corev1.Pod
	for p := range r.pods.Snapshot().By(replica.PodsByNode, n.Name) {
		if !pod.Ready(p) {
			continue
		}
		text, err := json.Marshal(map[string]any{
			// As it was seen: its kubelet may have spoken since.
			"metadata": map[string]any{"uid": p.UID, "resourceVersion": p.ResourceVersion},
			"status": map[string]any{"conditions": []map[string]any{{
				"type": corev1.PodReady, "status": corev1.ConditionFalse, "lastTransitionTime": metav1.Now(), "reason": nil, "message": nil,
			}}},
		})
		if err != nil {
			return err
		}
		w, err := client.PatchWrite[*corev1.Pod](r.env.Client, p.Namespace, p.Name, types.StrategicMergePatchType, text, client.WriteOptions{Subresource: "status", OmitObject: true})
		if err != nil {
			return err
		}
		writes, pods = append(writes, w), append(pods, p)
	}
	var errs []error
	for i, res := range r.env.Write.All(ctx, writes) {
		switch {
		case res.Err == nil:
			r.env.Events.Event(pods[i], control.Warning, "NodeNotReady", "Node is not ready")
		case apierrors.IsConflict(res.Err):
			errs = append(errs, control.Retry(res.Err))
		case !apierrors.IsNotFound(res.Err):
			errs = append(errs, fmt.Errorf("mark pod %s not ready: %w", cache.KeyOf(pods[i]), res.Err))
		}
	}
	return errors.Join(errs...)
}
