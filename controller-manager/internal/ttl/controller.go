package ttl

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "ttl-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "ttl",
	ServiceAccount: "ttl-controller", EventSource: "ttl-controller",
	Reads:  []string{"nodes"},
	Writes: []string{"nodes:metadata.annotations (" + annotation + ")"},
	New:    newController,
}

type reconciler struct {
	env   *control.Env
	nodes *cache.Replica[*corev1.Node]

	mu   sync.Mutex
	step int // guarded by mu
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, nodes: replica.Of[*corev1.Node](e.Replicas)}
	q := e.Queue("ttlcontroller")
	r.nodes.OnChange(func(c cache.Change[*corev1.Node]) {
		if c.HasNew && c.HasOld {
			if c.Old.Annotations[annotation] != c.New.Annotations[annotation] {
				q.Add(c.Key)
			}
			return
		}
		if r.moved() {
			for n := range r.nodes.Snapshot().All() {
				q.Add(cache.KeyOf(n))
			}
		}
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.nodes), nil
}

// moved reports whether the number of nodes has led to another step.
func (r *reconciler) moved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.step
	r.step = plan(r.step, r.nodes.Snapshot().Len())
	return r.step != was
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	n, ok := r.nodes.Snapshot().Lookup(key)
	r.mu.Lock()
	want := strconv.Itoa(steps[r.step].seconds)
	r.mu.Unlock()
	if !ok || n.Annotations[annotation] == want {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: want}}})
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Node](ctx, r.env.Client, "", n.Name, types.StrategicMergePatchType, patch, client.WriteOptions{OmitObject: true})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
