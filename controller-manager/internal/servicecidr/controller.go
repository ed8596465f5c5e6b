package servicecidr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const (
	name    = "service-cidr-controller"
	manager = "service-cidr-controller"
)

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "service-cidr",
	ServiceAccount: "service-cidrs-controller", EventSource: "service-cidrs-controller",
	Reads:  []string{"servicecidrs", "ipaddresses"},
	Writes: []string{"servicecidrs:metadata.finalizers", "servicecidrs:status.conditions"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	ranges    *cache.Replica[*networkingv1.ServiceCIDR]
	addresses *cache.Replica[*networkingv1.IPAddress]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, ranges: replica.Of[*networkingv1.ServiceCIDR](e.Replicas), addresses: replica.Of[*networkingv1.IPAddress](e.Replicas)}
	q := e.Queue("ipaddresses")
	// Ranges overlap: a change of one may matter to any.
	all := func() {
		for c := range r.ranges.Snapshot().All() {
			q.Add(cache.KeyOf(c))
		}
	}
	r.ranges.OnChange(func(cache.Change[*networkingv1.ServiceCIDR]) { all() })
	r.addresses.OnChange(func(c cache.Change[*networkingv1.IPAddress]) {
		if c.HasNew {
			return
		}
		for s := range r.ranges.Snapshot().All() {
			if s.DeletionTimestamp != nil {
				q.Add(cache.KeyOf(s))
			}
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.ranges, r.addresses), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	c, ok := r.ranges.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	var used []netip.Addr
	if c.DeletionTimestamp != nil {
		for a := range r.addresses.Snapshot().All() {
			if ip, err := netip.ParseAddr(a.Name); err == nil {
				used = append(used, ip)
			}
		}
	}
	p := plan(c, slices.Collect(r.ranges.Snapshot().All()), used)
	err := r.apply(ctx, c, p)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("service CIDR %s: %w", c.Name, err)
	}
	return control.Retry(err)
}

func (r *reconciler) apply(ctx context.Context, c *networkingv1.ServiceCIDR, p Plan) error {
	if p.AddFinalizer || p.RemoveFinalizer {
		now := c.DeepCopy()
		if p.AddFinalizer {
			now.Finalizers = append(now.Finalizers, finalizer)
		} else {
			now.Finalizers = slices.DeleteFunc(now.Finalizers, func(f string) bool { return f == finalizer })
		}
		if _, err := client.Update(ctx, r.env.Client, now, client.WriteOptions{OmitObject: true}); err != nil {
			return err
		}
	}
	if p.Condition == nil {
		return nil
	}
	p.Condition.LastTransitionTime = metav1.Now()
	patch, err := json.Marshal(map[string]any{
		"apiVersion": networkingv1.SchemeGroupVersion.String(), "kind": "ServiceCIDR",
		"metadata": map[string]any{"name": c.Name}, "status": map[string]any{"conditions": []metav1.Condition{*p.Condition}},
	})
	if err != nil {
		return err
	}
	_, err = client.Patch[*networkingv1.ServiceCIDR](ctx, r.env.Client, "", c.Name, types.ApplyYAMLPatchType, patch,
		client.WriteOptions{Subresource: "status", FieldManager: manager, Force: true, OmitObject: true})
	return err
}
