package satoken

import (
	"context"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "serviceaccount-token-controller"

// Spec of the controller. It writes as the manager itself: the accounts of the
// others may need what it makes.
var Spec = control.Spec{
	Name: name, Alias: "serviceaccount-token",
	ServiceAccount: control.Manager, EventSource: "serviceaccount-token-controller",
	Reads:  []string{"serviceaccounts", "secrets (kubernetes.io/service-account-token)"},
	Writes: []string{"secrets (kubernetes.io/service-account-token)", "secrets (kubernetes.io/service-account-token):data"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	accounts  *cache.Replica[*corev1.ServiceAccount]
	secrets   *cache.Replica[*corev1.Secret]
	sign      *signer
	authority []byte
}

func newController(e *control.Env) (control.Runner, error) {
	if e.Config.ServiceAccountKeyFile == "" {
		return nil, nil
	}
	sign, err := readSigner(e.Config.ServiceAccountKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--service-account-private-key-file: %w", err)
	}
	r := &reconciler{env: e, accounts: replica.Of[*corev1.ServiceAccount](e.Replicas), sign: sign}
	if path := e.Config.RootCAFile; path != "" {
		if r.authority, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("--root-ca-file: %w", err)
		}
	}
	r.secrets, err = cache.New(e.Replicas.Client, e.Replicas.Stream, cache.Options[*corev1.Secret]{
		Selection: client.Selection{Fields: "type=" + string(corev1.SecretTypeServiceAccountToken)}, Metrics: e.Replicas.Metrics, Log: e.Log,
	})
	if err != nil {
		return nil, err
	}
	q := e.Queue("serviceaccount_tokens")
	r.secrets.OnChange(func(c cache.Change[*corev1.Secret]) { q.Add(c.Key) })
	r.accounts.OnChange(func(c cache.Change[*corev1.ServiceAccount]) {
		for s := range r.secrets.Snapshot().In(c.Key.Namespace) {
			if s.Annotations[corev1.ServiceAccountNameKey] == c.Key.Name {
				q.Add(cache.KeyOf(s))
			}
		}
	})
	loop := e.Loop(name, q, e.Config.WorkersOf("serviceaccount-token"), r.reconcile, r.accounts, r.secrets)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, r.secrets.Run, loop.Run) }), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	s, ok := r.secrets.Snapshot().Lookup(key)
	if !ok || s.Annotations[corev1.ServiceAccountNameKey] == "" || s.DeletionTimestamp != nil {
		return nil
	}
	account, ok := r.accounts.Get(s.Namespace, s.Annotations[corev1.ServiceAccountNameKey])
	if !ok || plan(s, account, r.authority).Delete {
		// What is deleted can't be made again: look at the account itself.
		live, err := client.Get[*corev1.ServiceAccount](ctx, r.env.Client, s.Namespace, s.Annotations[corev1.ServiceAccountNameKey])
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("read the service account of secret %s: %w", key, err)
		}
		account = nil
		if err == nil {
			account = live
		}
	}
	var err error
	switch p := plan(s, account, r.authority); {
	case p.Delete:
		err = client.Delete[*corev1.Secret](ctx, r.env.Client, s.Namespace, s.Name, client.DeleteOptions{UID: s.UID})
	case p.Fill:
		var now *corev1.Secret
		if now, err = filled(s, account, r.authority, r.sign); err == nil {
			_, err = client.Update(ctx, r.env.Client, now)
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return control.Retry(err)
}
