// Package serviceaccount gives pods a service account, its token and its image
// pull secrets.
package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

const defaultAccount = "default"

// Plugin implements ServiceAccount.
type Plugin struct {
	reader   storage.Reader
	store    storage.Store
	accounts *scheme.Resource
}

// New makes the plugin. accounts is serviceaccounts in the table.
func New(reader storage.Reader, store storage.Store, accounts *scheme.Resource) *Plugin {
	return &Plugin{reader, store, accounts}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "ServiceAccount" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	// A mirror pod runs already, with no account.
	if mirror(pod) {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, err := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return a.Forbid(fmt.Errorf("error looking up service account %s/%s: %w", a.Namespace, pod.Spec.ServiceAccountName, err))
	}
	if automounts(account, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 && len(account.ImagePullSecrets) > 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference(nil), account.ImagePullSecrets...)
	}
	return nil
}

func mirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// automounts: the pod's word counts before the account's.
func automounts(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	switch {
	case pod.Spec.AutomountServiceAccountToken != nil:
		return *pod.Spec.AutomountServiceAccountToken
	case account.AutomountServiceAccountToken != nil:
		return *account.AutomountServiceAccountToken
	}
	return true
}

// accountAttempts is how often the default account is looked for: a controller
// makes it right after the namespace, and clients are quick.
const accountAttempts = 10

func (p *Plugin) account(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if o, ok := p.reader.Get(p.accounts, namespace, name); ok {
		return o.(*corev1.ServiceAccount), nil
	}
	attempts := 1
	if name == defaultAccount {
		attempts = accountAttempts
	}
	for {
		o, err := p.store.Collection(p.accounts).Get(ctx, namespace, name, storage.Fresh, 0)
		switch {
		case err == nil:
			account := &corev1.ServiceAccount{}
			return account, account.Unmarshal(o.Raw)
		case !errors.Is(err, storage.ErrNotFound):
			return nil, err
		}
		if attempts--; attempts == 0 {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccount"}, name)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100*time.Millisecond + rand.N(100*time.Millisecond)):
		}
	}
}
