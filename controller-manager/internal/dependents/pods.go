package dependents

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/write"
)

// Pods creates and deletes the pods of owners. What happens is told in events
// of the owner, and noted in the ledger under its key.
type Pods struct {
	Env    *control.Env
	Ledger *write.Ledger[*corev1.Pod]
}

// Create makes pods: few at first and more as it goes well, so that what
// refuses one does not refuse thousands. It gives the first error; in a
// namespace that is going away nothing can be created, which is none.
func (p *Pods) Create(ctx context.Context, o scheme.Object, pods []*corev1.Pod) error {
	writes := make([]*client.Write, len(pods))
	for i, v := range pods {
		q, err := client.CreateWrite(p.Env.Client, v, client.WriteOptions{OmitObject: true})
		if err != nil {
			return fmt.Errorf("pod of %s: %w", o.GetName(), err)
		}
		writes[i] = q
	}
	results := p.Env.Write.Slow(ctx, writes)
	p.Ledger.Wrote(cache.KeyOf(o), results...)
	var first error
	for i := range results {
		switch err := results[i].Err; {
		case err == nil:
			p.Env.Events.Eventf(o, control.Normal, "SuccessfulCreate", "Created pod: %v", results[i].Response.GetName())
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			p.Env.Events.Eventf(o, control.Warning, "FailedCreate", "Error creating: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// Delete deletes pods, these and no others of their names. Those that are gone
// count as deleted. It gives the first error.
func (p *Pods) Delete(ctx context.Context, o scheme.Object, pods []*corev1.Pod) error {
	writes := make([]*client.Write, len(pods))
	for i, v := range pods {
		q, err := client.DeleteWrite[*corev1.Pod](p.Env.Client, v.Namespace, v.Name, client.DeleteOptions{UID: v.UID})
		if err != nil {
			return err
		}
		writes[i] = q
	}
	key := cache.KeyOf(o)
	var first error
	for i, res := range p.Env.Write.All(ctx, writes) {
		switch err := res.Err; {
		case err == nil:
			p.Ledger.Deleted(key, pods[i])
			p.Env.Events.Eventf(o, control.Normal, "SuccessfulDelete", "Deleted pod: %v", pods[i].Name)
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			p.Ledger.Deleted(key, pods[i]) // gone, or another has its name
		default:
			if errors.Is(err, client.ErrOutcomeUnknown) {
				p.Ledger.Wrote(key, res)
			}
			p.Env.Events.Eventf(o, control.Warning, "FailedDelete", "Error deleting: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}
