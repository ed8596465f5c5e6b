package roleaggregation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const (
	name = "clusterrole-aggregation-controller"
	// manager of the fields.
	manager = "clusterrole-aggregation-controller"
)

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "clusterrole-aggregation",
	ServiceAccount: "clusterrole-aggregation-controller", EventSource: "clusterrole-aggregation-controller",
	Reads:  []string{"clusterroles"},
	Writes: []string{"clusterroles:rules (aggregated)"},
	New:    newController,
}

type reconciler struct {
	env   *control.Env
	roles *cache.Replica[*rbacv1.ClusterRole]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, roles: replica.Of[*rbacv1.ClusterRole](e.Replicas)}
	q := e.Queue("ClusterRoleAggregator")
	// Any role may be part of any aggregated one.
	r.roles.OnChange(func(cache.Change[*rbacv1.ClusterRole]) {
		for role := range r.roles.Snapshot().All() {
			if role.AggregationRule != nil {
				q.Add(cache.KeyOf(role))
			}
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.roles), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	role, ok := r.roles.Snapshot().Lookup(key)
	if !ok || role.DeletionTimestamp != nil {
		return nil
	}
	rules, changed := plan(role, slices.Collect(r.roles.Snapshot().All()))
	if !changed {
		return nil
	}
	if rules == nil {
		rules = []rbacv1.PolicyRule{}
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": "ClusterRole",
		"metadata": map[string]any{"name": role.Name, "uid": role.UID}, "rules": rules,
	})
	if err != nil {
		return err
	}
	_, err = client.Patch[*rbacv1.ClusterRole](ctx, r.env.Client, "", role.Name, types.ApplyYAMLPatchType, patch, client.WriteOptions{FieldManager: manager, Force: true})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	case err != nil:
		return fmt.Errorf("rules of cluster role %s: %w", role.Name, err)
	}
	return nil
}
