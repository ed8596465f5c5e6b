package rootca

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "root-ca-certificate-publisher-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "root-ca-cert-publisher",
	ServiceAccount: "root-ca-cert-publisher", EventSource: "root-ca-cert-publisher",
	Reads:  []string{"namespaces", "configmaps (kube-root-ca.crt)"},
	Writes: []string{"configmaps", "configmaps:data"},
	New:    newController,
}

type reconciler struct {
	env        *control.Env
	namespaces *cache.Replica[*corev1.Namespace]
	maps       *cache.Replica[*corev1.ConfigMap]
	queue      *workqueue.Queue[cache.Key]
	authority  atomic.Pointer[[]byte]
}

func newController(e *control.Env) (control.Runner, error) {
	if e.Config.RootCAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(e.Config.RootCAFile)
	if err != nil {
		return nil, fmt.Errorf("--root-ca-file: %w", err)
	}
	// Only the maps of this name: a replica of all would hold every
	// application's configuration.
	maps, err := cache.New(e.Replicas.Client, e.Replicas.Stream, cache.Options[*corev1.ConfigMap]{
		Selection: client.Selection{Fields: "metadata.name=" + mapName}, Metrics: e.Replicas.Metrics, Log: e.Log,
	})
	if err != nil {
		return nil, err
	}
	r := &reconciler{env: e, namespaces: replica.Of[*corev1.Namespace](e.Replicas), maps: maps, queue: e.Queue("root_ca_cert_publisher")}
	r.authority.Store(&pem)
	r.namespaces.OnChange(func(c cache.Change[*corev1.Namespace]) { r.queue.Add(c.Key) })
	maps.OnChange(func(c cache.Change[*corev1.ConfigMap]) { r.queue.Add(cache.Key{Name: c.Key.Namespace}) })
	loop := e.Loop(name, r.queue, 1, r.reconcile, r.namespaces, maps)
	return control.RunFunc(func(ctx context.Context) error {
		return daemon.Run(ctx, maps.Run, loop.Run, r.follow)
	}), nil
}

// fileEvery is how often the file is looked at.
const fileEvery = 10 * time.Second

// follow publishes a new authority everywhere when the file changes.
func (r *reconciler) follow(ctx context.Context) error {
	return control.Every(ctx, fileEvery, func(context.Context) {
		pem, err := os.ReadFile(r.env.Config.RootCAFile)
		if err != nil {
			r.env.Log.Warn("--root-ca-file can't be read; what was read before stays published", zap.Error(err))
			return
		}
		if bytes.Equal(pem, *r.authority.Load()) || len(pem) == 0 {
			return
		}
		r.authority.Store(&pem)
		for ns := range r.namespaces.Snapshot().All() {
			r.queue.Add(cache.KeyOf(ns))
		}
	})
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	ns, ok := r.namespaces.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	have, _ := r.maps.Get(ns.Name, mapName)
	p := plan(ns, have, string(*r.authority.Load()))
	var err error
	switch {
	case p.Create != nil:
		_, err = client.Create(ctx, r.env.Client, p.Create)
	case p.Update != nil:
		_, err = client.Update(ctx, r.env.Client, p.Update)
	}
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return nil
	}
	if apierrors.IsConflict(err) {
		return control.Retry(err)
	}
	return fmt.Errorf("%s: %w", p, err)
}
