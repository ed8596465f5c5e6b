package bootstrapsigner

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/bootstraptoken"
	"xebec.dev/controller-manager/internal/control"
)

const name = "bootstrap-signer-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "bootstrapsigner", OffByDefault: true,
	ServiceAccount: "bootstrap-signer", EventSource: name,
	Reads:  []string{"configmaps (kube-public/cluster-info)", "secrets (bootstrap.kubernetes.io/token)"},
	Writes: []string{"configmaps (kube-public/cluster-info):data"},
	New:    newController,
}

var info = cache.Key{Namespace: metav1.NamespacePublic, Name: "cluster-info"}

func newController(e *control.Env) (control.Runner, error) {
	tokens, err := bootstraptoken.Secrets(e)
	if err != nil {
		return nil, err
	}
	maps, err := cache.New(e.Replicas.Client, e.Replicas.Stream, cache.Options[*corev1.ConfigMap]{
		Selection: client.Selection{Namespace: info.Namespace, Name: info.Name}, Metrics: e.Replicas.Metrics, Log: e.Log,
	})
	if err != nil {
		return nil, err
	}
	q := e.Queue("bootstrap_signer_queue")
	tokens.OnChange(func(cache.Change[*corev1.Secret]) { q.Add(info) })
	maps.OnChange(func(cache.Change[*corev1.ConfigMap]) { q.Add(info) })
	loop := e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		m, ok := maps.Snapshot().Lookup(key)
		if !ok {
			return nil
		}
		p, err := plan(m.Data, tokens.Snapshot().All(), time.Now())
		if err != nil {
			return err
		}
		if err := apply(ctx, e, m, p); err != nil {
			return err
		}
		return control.Later(p.Again)
	}, tokens, maps)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, tokens.Run, maps.Run, loop.Run) }), nil
}

func apply(ctx context.Context, e *control.Env, m *corev1.ConfigMap, p Plan) error {
	if len(p.Set)+len(p.Remove) == 0 {
		return nil
	}
	m = m.DeepCopy()
	maps.Copy(m.Data, p.Set)
	for _, k := range p.Remove {
		delete(m.Data, k)
	}
	_, err := client.Update(ctx, e.Client, m, client.WriteOptions{OmitObject: true})
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("sign ConfigMap %s: %w", info, err)
}
