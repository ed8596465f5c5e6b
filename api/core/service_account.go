package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

// enforceMountableSecrets restricts pods to the secrets a service account
// lists. Deprecated, still obeyed.
const enforceMountableSecrets = "kubernetes.io/enforce-mountable-secrets"

func serviceAccountResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ServiceAccount",
		Plural: "serviceaccounts", Singular: "serviceaccount",
		ShortNames:    []string{"sa"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ServiceAccount) },
		NewList:       func() runtime.Object { return new(corev1.ServiceAccountList) },
		StoragePrefix: "serviceaccounts",
		Columns:       []metav1.TableColumnDefinition{table.Name(), table.Age()},
		Row: scheme.Rows(func(s *corev1.ServiceAccount, now metav1.Time) []any {
			return []any{s.Name, table.Since(s.CreationTimestamp, now)}
		}),
		Strategy: scheme.Hooks[corev1.ServiceAccount]{
			PrepareCreate: func(_ scheme.Context, s *corev1.ServiceAccount) { nameOnlySecrets(s) },
			PrepareUpdate: func(_ scheme.Context, s, _ *corev1.ServiceAccount) { nameOnlySecrets(s) },
			WarnCreate: func(s *corev1.ServiceAccount) []string {
				return warnServiceAccount(s, nil)
			},
			WarnUpdate: warnServiceAccount,
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "token", Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest", Verbs: []string{"create"}},
		},
	}
}

// nameOnlySecrets keeps the names alone of the referenced secrets, which are
// of the account's own namespace.
func nameOnlySecrets(s *corev1.ServiceAccount) {
	for i := range s.Secrets {
		s.Secrets[i] = corev1.ObjectReference{Name: s.Secrets[i].Name}
	}
}

func warnServiceAccount(s, old *corev1.ServiceAccount) []string {
	if _, ok := s.Annotations[enforceMountableSecrets]; !ok {
		return nil
	}
	if old != nil {
		if _, had := old.Annotations[enforceMountableSecrets]; had {
			return nil
		}
	}
	return []string{"metadata.annotations[" + enforceMountableSecrets +
		"]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
}
