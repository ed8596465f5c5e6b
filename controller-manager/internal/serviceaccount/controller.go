package serviceaccount

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "serviceaccount-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "serviceaccount",
	ServiceAccount: "service-account-controller", EventSource: "serviceaccount-controller",
	Reads:  []string{"namespaces", "serviceaccounts"},
	Writes: []string{"serviceaccounts"},
	New:    newController,
}

type reconciler struct {
	env        *control.Env
	namespaces *cache.Replica[*corev1.Namespace]
	accounts   *cache.Replica[*corev1.ServiceAccount]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, namespaces: replica.Of[*corev1.Namespace](e.Replicas), accounts: replica.Of[*corev1.ServiceAccount](e.Replicas)}
	q := e.Queue("serviceaccount")
	r.namespaces.OnChange(func(c cache.Change[*corev1.Namespace]) { q.Add(c.Key) })
	r.accounts.OnChange(func(c cache.Change[*corev1.ServiceAccount]) {
		if c.Key.Name == defaultName && !c.HasNew {
			q.Add(cache.Key{Name: c.Key.Namespace})
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.namespaces, r.accounts), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	ns, ok := r.namespaces.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	_, have := r.accounts.Get(ns.Name, defaultName)
	if plan(ns, have) == "" {
		return nil
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: defaultName}}
	_, err := client.Create(ctx, r.env.Client, account)
	// A namespace that ends meanwhile needs none.
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("create service account %s/%s: %w", ns.Name, defaultName, err)
}
