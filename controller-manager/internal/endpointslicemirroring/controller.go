package endpointslicemirroring

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/endpointslice"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

const name = "endpointslice-mirroring-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "endpointslicemirroring",
	ServiceAccount: "endpointslicemirroring-controller", EventSource: "endpoint-slice-mirroring-controller",
	Reads:  []string{"services", "endpoints", "endpointslices"},
	Writes: []string{"endpointslices", "endpointslices (endpointslicemirroring-controller):endpoints"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	services  *cache.Replica[*corev1.Service]
	endpoints *cache.Replica[*corev1.Endpoints]
	slices    *cache.Replica[*discoveryv1.EndpointSlice]
	ledger    *write.Ledger[*discoveryv1.EndpointSlice]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, services: replica.Of[*corev1.Service](e.Replicas), endpoints: replica.Of[*corev1.Endpoints](e.Replicas),
		slices: replica.Of[*discoveryv1.EndpointSlice](e.Replicas),
	}
	r.ledger = write.NewLedger(r.slices)
	q := e.Queue("endpoint_slice_mirroring")
	r.services.OnChange(func(c cache.Change[*corev1.Service]) {
		if !c.HasOld || !c.HasNew || (len(c.Old.Spec.Selector) == 0) != (len(c.New.Spec.Selector) == 0) {
			q.Add(c.Key)
		}
	})
	r.endpoints.OnChange(func(c cache.Change[*corev1.Endpoints]) { q.Add(c.Key) })
	r.slices.OnChange(func(c cache.Change[*discoveryv1.EndpointSlice]) {
		for _, s := range []*discoveryv1.EndpointSlice{c.Old, c.New} {
			if s != nil && s.Labels[discoveryv1.LabelManagedBy] == ManagedBy {
				q.Add(cache.Key{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]})
			}
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.services, r.endpoints, r.slices), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	if settled, err := r.ledger.Settled(ctx, r.env.Write, key); err != nil {
		return err
	} else if !settled {
		return control.Unsettled()
	}
	e, _ := r.endpoints.Snapshot().Lookup(key)
	svc, ok := r.services.Snapshot().Lookup(key)
	if !mirrored(e) || !ok || svc.DeletionTimestamp != nil || len(svc.Spec.Selector) > 0 {
		e = nil
	}
	have := slices.Collect(r.slices.Snapshot().By(replica.SlicesByService, key.String()))
	have = slices.DeleteFunc(have, func(s *discoveryv1.EndpointSlice) bool {
		return s.Labels[discoveryv1.LabelManagedBy] != ManagedBy || s.DeletionTimestamp != nil
	})
	most := int(r.env.Config.MirroringMaxEndpoints)
	p, skipped := plan(e, have, most)
	if skipped > 0 {
		r.env.Events.Eventf(e, control.Warning, "TooManyAddressesToMirror", "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped", most, skipped)
	}
	if err := endpointslice.Apply(ctx, r.env, r.ledger, key, p); apierrors.IsConflict(err) {
		return control.Retry(err)
	} else if err != nil {
		return fmt.Errorf("mirror endpoints %s: %w", key, err)
	}
	return nil
}
