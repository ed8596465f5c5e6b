package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/controller"
	"xebec.dev/client/daemon"
	"xebec.dev/client/event"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/catalog"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "garbage-collector-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "garbagecollector",
	ServiceAccount: "generic-garbage-collector", EventSource: "garbage-collector-controller",
	Reads:  []string{"customresourcedefinitions", "metadata of all resources"},
	Writes: []string{"all resources", "all resources:metadata.ownerReferences", "all resources:metadata.finalizers (orphan, foregroundDeletion)"},
	New:    newController,
}

// collector owns the graph.
type collector struct {
	env         *control.Env
	catalog     *catalog.Catalog
	definitions *cache.Replica[*apiextensionsv1.CustomResourceDefinition]
	followers   *followers
	queue       *workqueue.Queue[types.UID]
	changed     chan struct{} // definitions have changed

	mu    sync.Mutex
	graph *graph // guarded by mu
}

func newController(e *control.Env) (control.Runner, error) {
	if !e.Config.EnableGC {
		return nil, nil
	}
	c := &collector{
		env: e, definitions: replica.Of[*apiextensionsv1.CustomResourceDefinition](e.Replicas), changed: make(chan struct{}, 1),
		queue: workqueue.New("garbage_collector_attempt_to_delete", workqueue.Options[types.UID]{Metrics: e.Queues}),
	}
	c.catalog = catalog.New(e.Client.Scheme(), c.definitions)
	c.graph = newGraph(c.queue.Add)
	c.followers = &followers{c: c, by: map[catalog.Resource]*follower{}}
	c.definitions.OnChange(func(cache.Change[*apiextensionsv1.CustomResourceDefinition]) {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	})
	return control.RunFunc(c.run), nil
}

// settleTime is how long the collector waits for all resources before it
// begins; what it has not seen by then it looks for at the server.
const settleTime = 30 * time.Second

func (c *collector) run(ctx context.Context) error {
	defer c.followers.running.Wait()
	if err := c.definitions.WaitForSync(ctx); err != nil {
		return err
	}
	c.followers.sync(ctx)
	for deadline := time.Now().Add(settleTime); !c.followers.ready() && time.Now().Before(deadline); {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	loop := controller.New(name, c.queue, controller.Func[types.UID](c.reconcile), controller.Options[types.UID]{Workers: c.env.Config.WorkersOf("gc"), Log: c.env.Log})
	return daemon.Run(ctx, loop.Run, c.follow)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *collector) follow(ctx context.Context) error {
	for {
		select {
		case <-c.changed:
			c.followers.sync(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *collector) known(apiVersion, kind string) (namespaced, ok bool) {
	r, ok := c.catalog.Kind(apiVersion, kind)
	return r.Namespaced, ok
}

// object is a node's identity, taken under the lock.
type object struct {
	resource        catalog.Resource
	namespace, name string
	uid             types.UID
	revision        int64
}

func identityOf(n *node) object {
	return object{resource: *n.resource, namespace: n.namespace, name: n.name, uid: n.uid, revision: n.revision}
}

func (o object) String() string {
	return fmt.Sprintf("%s %s/%s, uid %s", o.resource, o.namespace, o.name, o.uid)
}

func (c *collector) reconcile(ctx context.Context, uid types.UID) error {
	c.mu.Lock()
	p := c.graph.plan(uid, c.known)
	n := c.graph.nodes[uid]
	if n == nil || n.virtual {
		c.mu.Unlock()
		return nil
	}
	o := identityOf(n)
	for _, ref := range p.Invalid {
		c.env.Events.Record(event.Note{
			About: n.reference(), Type: control.Warning, Reason: "OwnerRefInvalidNamespace",
			Message: fmt.Sprintf("ownerRef %s does not exist in namespace %q", refText(&ref), n.namespace),
		})
	}
	orphans := make([]object, len(p.Orphan))
	for i, d := range p.Orphan {
		orphans[i] = identityOf(d)
	}
	c.mu.Unlock()
	for _, u := range p.Look {
		c.queue.Add(u)
	}
	return c.apply(ctx, o, p, orphans)
}

func refText(r *metav1.OwnerReference) string {
	return fmt.Sprintf("[%s/%s, namespace: , name: %s, uid: %s]", r.APIVersion, r.Kind, r.Name, r.UID)
}

func (c *collector) apply(ctx context.Context, o object, p Plan, orphans []object) error {
	switch {
	case len(p.Find) > 0:
		return c.find(ctx, o, p.Find)
	case p.Free:
		return c.orphan(ctx, o, orphans)
	case p.Finish:
		return c.removeFinalizer(ctx, o, metav1.FinalizerDeleteDependents)
	case len(p.Unown) > 0:
		return c.edit(ctx, o, func(m *metav1.PartialObjectMetadata) { m.OwnerReferences = without(m.OwnerReferences, p.Unown) })
	case p.Delete != "":
		if p.Unblock {
			if err := c.edit(ctx, o, unblock); err != nil {
				return err
			}
		}
		return c.delete(ctx, o, p)
	}
	return nil
}

// find looks for owners that were never seen, and decides anew when that has
// brought something to light.
func (c *collector) find(ctx context.Context, o object, refs []metav1.OwnerReference) error {
	for i := range refs {
		ref := &refs[i]
		r, ok := c.catalog.Kind(ref.APIVersion, ref.Kind)
		if !ok {
			continue
		}
		namespace := o.namespace
		if !r.Namespaced {
			namespace = ""
		}
		m, err := client.GetMetadata(ctx, c.env.Client, r.Wire(), namespace, ref.Name)
		switch {
		case err == nil && m.UID == ref.UID:
			continue // it is there and will be seen
		case err == nil || apierrors.IsNotFound(err):
			c.mu.Lock()
			c.graph.missing.add(referenceOf(ref, o.namespace))
			c.mu.Unlock()
			c.queue.Add(o.uid)
		default:
			return fmt.Errorf("look for %s %s, an owner of %s: %w", ref.Kind, ref.Name, o, err)
		}
	}
	return nil
}

// delete removes an object as it was seen. One that has changed since is
// decided on anew, as it is at the server: of changes that leave its metadata
// as it is, such as those of its status, the stream says nothing.
func (c *collector) delete(ctx context.Context, o object, p Plan) error {
	opts := client.DeleteOptions{UID: o.uid, Revision: o.revision, Propagation: p.Delete}
	if p.Unblock {
		opts.Revision = 0 // the edit has changed it
	}
	res := c.env.Write.Do(ctx, client.DeleteWriteOf(o.resource.Wire(), o.namespace, o.name, opts))
	if apierrors.IsConflict(res.Err) {
		return c.refresh(ctx, o)
	}
	return c.outcome(o, "delete", res.Err)
}

// refresh takes an object into the graph as it is at the server, and decides
// on it anew.
func (c *collector) refresh(ctx context.Context, o object) error {
	m, err := client.GetMetadata(ctx, c.env.Client, o.resource.Wire(), o.namespace, o.name)
	if apierrors.IsNotFound(err) || err == nil && m.UID != o.uid {
		return nil // its end will be seen
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", o, err)
	}
	c.mu.Lock()
	// Its end may have been seen meanwhile: it must not come back.
	if n := c.graph.nodes[o.uid]; n != nil && !n.virtual {
		c.graph.observe(n.resource, m)
	}
	c.mu.Unlock()
	c.queue.Add(o.uid)
	return nil
}

func (c *collector) outcome(o object, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return nil // its end will be seen
	case apierrors.IsConflict(err):
		return control.Retry(err)
	case errors.Is(err, client.ErrOutcomeUnknown):
		return control.Later(time.Second)
	}
	return fmt.Errorf("%s %s: %w", what, o, err)
}

// orphan takes an owner's reference from its dependents, all of them, and then
// lets the owner go.
func (c *collector) orphan(ctx context.Context, o object, dependents []object) error {
	for _, d := range dependents {
		err := c.edit(ctx, d, func(m *metav1.PartialObjectMetadata) {
			m.OwnerReferences = without(m.OwnerReferences, []types.UID{o.uid})
		})
		if err != nil {
			return err
		}
	}
	return c.removeFinalizer(ctx, o, metav1.FinalizerOrphanDependents)
}

func (c *collector) removeFinalizer(ctx context.Context, o object, finalizer string) error {
	return c.edit(ctx, o, func(m *metav1.PartialObjectMetadata) {
		var left []string
		for _, f := range m.Finalizers {
			if f != finalizer {
				left = append(left, f)
			}
		}
		m.Finalizers = left
	})
}

func without(refs []metav1.OwnerReference, uids []types.UID) []metav1.OwnerReference {
	var out []metav1.OwnerReference
next:
	for _, r := range refs {
		for _, u := range uids {
			if r.UID == u {
				continue next
			}
		}
		out = append(out, r)
	}
	return out
}

func unblock(m *metav1.PartialObjectMetadata) {
	for i := range m.OwnerReferences {
		if blocks(&m.OwnerReferences[i]) {
			no := false
			m.OwnerReferences[i].BlockOwnerDeletion = &no
		}
	}
}

// edits of one object that lose against others' writes are tried so often at
// once; then the queue's pauses follow.
const editTries = 5

// edit changes an object's metadata as it is at the server, by a patch that
// holds for that state only.
func (c *collector) edit(ctx context.Context, o object, change func(*metav1.PartialObjectMetadata)) error {
	var err error
	for range editTries {
		var m *metav1.PartialObjectMetadata
		m, err = client.GetMetadata(ctx, c.env.Client, o.resource.Wire(), o.namespace, o.name)
		if apierrors.IsNotFound(err) || err == nil && m.UID != o.uid {
			return nil // its end will be seen
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", o, err)
		}
		change(m)
		patch, merr := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": m.UID, "resourceVersion": m.ResourceVersion, "ownerReferences": m.OwnerReferences, "finalizers": m.Finalizers,
		}})
		if merr != nil {
			return merr
		}
		q, werr := client.PatchWriteOf(o.resource.Wire(), o.namespace, o.name, types.MergePatchType, patch)
		if werr != nil {
			return werr
		}
		if err = c.env.Write.Do(ctx, q).Err; !apierrors.IsConflict(err) {
			return c.outcome(o, "edit", err)
		}
	}
	return control.Retry(err)
}
