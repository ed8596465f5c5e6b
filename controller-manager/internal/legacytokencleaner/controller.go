package legacytokencleaner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/controller-manager/internal/control"
)

const name = "legacy-serviceaccount-token-cleaner-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "legacy-service-account-token-cleaner",
	ServiceAccount: "legacy-service-account-token-cleaner", EventSource: name,
	Reads:  []string{"secrets (kubernetes.io/service-account-token)", "serviceaccounts", "pods", "configmaps (tracking of tokens)"},
	Writes: []string{"secrets (kubernetes.io/service-account-token, generated)", "secrets (kubernetes.io/service-account-token):metadata.labels (invalid-since)"},
	New:    newController,
}

// every so often it is looked: days are what is counted. What is read is not
// kept in between.
const every = 24 * time.Hour

// tracking is where the API server notes since when it knows of tokens' use.
const tracking = "kube-apiserver-legacy-service-account-token-tracking"

type cleaner struct{ env *control.Env }

func newController(e *control.Env) (control.Runner, error) {
	c := &cleaner{e}
	return control.RunFunc(func(ctx context.Context) error {
		return control.Every(ctx, every, func(ctx context.Context) {
			if err := c.clean(ctx); err != nil && ctx.Err() == nil {
				e.Log.Warn("tokens that nobody uses could not be cleaned up", zap.Error(err))
			}
		})
	}), nil
}

func (c *cleaner) clean(ctx context.Context) error {
	now, period := time.Now(), c.env.Config.LegacyTokenCleanUpPeriod
	known, err := client.Get[*corev1.ConfigMap](ctx, c.env.Client, metav1.NamespaceSystem, tracking)
	if apierrors.IsNotFound(err) || err == nil && !tracked(known, period, now) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read since when tokens are tracked: %w", err)
	}
	read := c.env.Replicas.Client
	secrets, _, err := client.List[*corev1.Secret](ctx, read, client.Selection{Fields: "type=" + string(corev1.SecretTypeServiceAccountToken)})
	if err != nil {
		return fmt.Errorf("list the secrets with tokens: %w", err)
	}
	if len(secrets) == 0 {
		return nil
	}
	used, err := c.used(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range secrets {
		o := observed{secret: s, mounted: used[s.Namespace+"/"+s.Name], period: period, now: now}
		o.account, err = client.Get[*corev1.ServiceAccount](ctx, read, s.Namespace, s.Annotations[corev1.ServiceAccountNameKey])
		if err != nil {
			o.account = nil // gone or unreadable: nothing is done about its secrets
		}
		if err := c.apply(ctx, s, plan(o)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// used are the secrets, as NAMESPACE/NAME, that pods use.
func (c *cleaner) used(ctx context.Context) (map[string]bool, error) {
	pods, _, err := client.List[*corev1.Pod](ctx, c.env.Replicas.Client, client.Selection{})
	if err != nil {
		return nil, fmt.Errorf("list the pods that may use tokens: %w", err)
	}
	out := map[string]bool{}
	for _, p := range pods {
		for _, name := range secretsOf(p) {
			out[p.Namespace+"/"+name] = true
		}
	}
	return out, nil
}

func (c *cleaner) apply(ctx context.Context, s *corev1.Secret, p Plan) error {
	var err error
	switch {
	case p.Delete:
		// As it was seen: it may have been used since.
		err = client.Delete[*corev1.Secret](ctx, c.env.Client, s.Namespace, s.Name, client.DeleteOptions{UID: s.UID, Revision: revision(s)})
	case p.Label != "":
		var patch []byte
		patch, err = json.Marshal(map[string]any{"metadata": map[string]any{"uid": s.UID, "resourceVersion": s.ResourceVersion, "labels": map[string]string{invalidSince: p.Label}}})
		if err == nil {
			_, err = client.Patch[*corev1.Secret](ctx, c.env.Client, s.Namespace, s.Name, types.MergePatchType, patch, client.WriteOptions{OmitObject: true})
		}
	default:
		return nil
	}
	switch {
	case err == nil:
		c.env.Log.Info("a token that nobody uses", zap.String("namespace", s.Namespace), zap.String("secret", s.Name), zap.Stringer("plan", p))
		return nil
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil // it has changed: tomorrow
	}
	return fmt.Errorf("clean up secret %s/%s: %w", s.Namespace, s.Name, err)
}

func revision(s *corev1.Secret) int64 {
	n, _ := strconv.ParseInt(s.ResourceVersion, 10, 64) // the wire's own number
	return n
}
