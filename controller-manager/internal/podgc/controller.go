package podgc

import (
	"context"
	"encoding/json"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "pod-garbage-collector-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "podgc",
	ServiceAccount: "pod-garbage-collector", EventSource: name,
	Reads:  []string{"pods", "nodes"},
	Writes: []string{"pods", "pods:status.phase (Failed)"},
	New:    newController,
}

// period between two looks.
const period = 20 * time.Second

type collector struct {
	env     *control.Env
	pods    *cache.Replica[*corev1.Pod]
	nodes   *cache.Replica[*corev1.Node]
	missing map[string]time.Time // owned by run
}

func newController(e *control.Env) (control.Runner, error) {
	c := &collector{env: e, pods: replica.Of[*corev1.Pod](e.Replicas), nodes: replica.Of[*corev1.Node](e.Replicas), missing: map[string]time.Time{}}
	return control.RunFunc(func(ctx context.Context) error {
		if err := cache.WaitForSync(ctx, c.pods, c.nodes); err != nil {
			return err
		}
		return control.Every(ctx, period, c.collect)
	}), nil
}

func (c *collector) collect(ctx context.Context) {
	nodes := c.nodes.Snapshot()
	p := plan(observed{
		pods: c.pods.Snapshot().All(), node: func(name string) (*corev1.Node, bool) { return nodes.Get("", name) },
		missing: c.missing, most: int(c.env.Config.TerminatedPodThreshold), now: time.Now(),
	})
	there := map[string]bool{}
	var fail, remove []*corev1.Pod
	var failing []*client.Write
	for _, a := range p {
		if a.Orphan && c.exists(ctx, a.Pod.Spec.NodeName, there) {
			continue
		}
		c.env.Log.Debug("a pod is deleted by force", zap.String("namespace", a.Pod.Namespace), zap.String("name", a.Pod.Name), zap.String("why", a.Why))
		if pod.Finished(a.Pod) {
			remove = append(remove, a.Pod)
			continue
		}
		w, err := failWrite(c.env.Client, a)
		if err != nil {
			c.env.Log.Error("a pod can't be failed", zap.Error(err))
			continue
		}
		fail, failing = append(fail, a.Pod), append(failing, w)
	}
	// The phase comes first: whoever counts failed pods must see it.
	for i, res := range c.env.Write.All(ctx, failing) {
		if c.went(ctx, res.Err) {
			remove = append(remove, fail[i])
		}
	}
	c.remove(ctx, remove)
}

func (c *collector) remove(ctx context.Context, pods []*corev1.Pod) {
	var writes []*client.Write
	for _, p := range pods {
		zero := int64(0)
		w, err := client.DeleteWrite[*corev1.Pod](c.env.Client, p.Namespace, p.Name, client.DeleteOptions{GracePeriod: &zero, UID: p.UID})
		if err != nil {
			c.env.Log.Error("a pod can't be deleted", zap.Error(err))
			continue
		}
		writes = append(writes, w)
	}
	for _, res := range c.env.Write.All(ctx, writes) {
		c.went(ctx, res.Err)
	}
}

// went reports whether a write has happened, or was not needed any more; the
// next round tries again what has not.
func (c *collector) went(ctx context.Context, err error) bool {
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true
	}
	if ctx.Err() == nil {
		c.env.Log.Warn("a pod was not deleted by force", zap.Error(err))
	}
	return false
}

// exists asks the server for a node; in doubt it is there.
func (c *collector) exists(ctx context.Context, node string, known map[string]bool) bool {
	if v, ok := known[node]; ok {
		return v
	}
	_, err := client.Get[*corev1.Node](ctx, c.env.Client, "", node, client.ReadOptions{MetadataOnly: true})
	known[node] = !apierrors.IsNotFound(err)
	return known[node]
}

func failWrite(c *client.Client, a Action) (*client.Write, error) {
	status := map[string]any{"phase": corev1.PodFailed}
	if a.Orphan {
		status["conditions"] = []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists",
			LastTransitionTime: metav1.Now(), ObservedGeneration: a.Pod.Generation,
		}}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": a.Pod.UID}, "status": status})
	if err != nil {
		return nil, err
	}
	return client.PatchWrite[*corev1.Pod](c, a.Pod.Namespace, a.Pod.Name, types.StrategicMergePatchType, patch, client.WriteOptions{Subresource: "status", OmitObject: true})
}
