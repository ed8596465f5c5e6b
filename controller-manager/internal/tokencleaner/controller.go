package tokencleaner

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/bootstraptoken"
	"xebec.dev/controller-manager/internal/control"
)

const name = "token-cleaner-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "tokencleaner", OffByDefault: true,
	ServiceAccount: "token-cleaner", EventSource: name,
	Reads:  []string{"secrets (bootstrap.kubernetes.io/token)"},
	Writes: []string{"secrets (bootstrap.kubernetes.io/token)"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	tokens, err := bootstraptoken.Secrets(e)
	if err != nil {
		return nil, err
	}
	q := e.Queue("token_cleaner")
	tokens.OnChange(func(c cache.Change[*corev1.Secret]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	loop := e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		s, ok := tokens.Snapshot().Lookup(key)
		if !ok || s.DeletionTimestamp != nil {
			return nil
		}
		if keep := plan(s, time.Now()); keep != 0 {
			return control.Later(keep)
		}
		err := client.Delete[*corev1.Secret](ctx, e.Client, s.Namespace, s.Name, client.DeleteOptions{UID: s.UID})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return fmt.Errorf("delete expired token %s: %w", key, err)
	}, tokens)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, tokens.Run, loop.Run) }), nil
}
