package core

import (
	"crypto/tls"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func secretResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Secret",
		Plural: "secrets", Singular: "secret",
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Secret) },
		NewList:       func() runtime.Object { return new(corev1.SecretList) },
		StoragePrefix: "secrets",
		Fields:        []scheme.SelectableField{{Label: "type"}},
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.Field("Type", corev1.Secret{}, "type"),
			table.Field("Data", corev1.Secret{}, "data"),
			table.Age(),
		},
		Row: scheme.Rows(func(s *corev1.Secret, now metav1.Time) []any {
			return []any{s.Name, string(s.Type), int64(len(s.Data)), table.Since(s.CreationTimestamp, now)}
		}),
		Strategy: scheme.Hooks[corev1.Secret]{
			Default:        DefaultSecret,
			ValidateCreate: ValidateSecret,
			WarnCreate:     warnSecret,
			ValidateUpdate: ValidateSecretUpdate,
			WarnUpdate:     func(s, _ *corev1.Secret) []string { return warnSecret(s) },
		}.Erase(),
	}
}

// ValidateSecret checks keys, size and what the type requires.
func ValidateSecret(s *corev1.Secret) field.ErrorList {
	data := field.NewPath("data")
	var errs field.ErrorList
	size := 0
	for key, value := range s.Data {
		size += len(value)
		errs = append(errs, configKey(data.Key(key), key)...)
	}
	inOrder(errs)
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(data, "", corev1.MaxSecretSize))
	}
	return append(errs, validateSecretType(s, data)...)
}

func validateSecretType(s *corev1.Secret, data *field.Path) field.ErrorList {
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")}
		}
	case corev1.SecretTypeDockercfg:
		return validateDockerConfig(s, corev1.DockerConfigKey, data)
	case corev1.SecretTypeDockerConfigJson:
		return validateDockerConfig(s, corev1.DockerConfigJsonKey, data)
	case corev1.SecretTypeBasicAuth:
		_, username := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !username && !password {
			return field.ErrorList{
				field.Required(data.Key(corev1.BasicAuthUsernameKey), ""),
				field.Required(data.Key(corev1.BasicAuthPasswordKey), ""),
			}
		}
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(data.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeTLS:
		var errs field.ErrorList
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), ""))
			}
		}
		return errs
	}
	return nil
}

// validateDockerConfig requires a JSON object; what was given is never shown.
func validateDockerConfig(s *corev1.Secret, key string, data *field.Path) field.ErrorList {
	value, ok := s.Data[key]
	if !ok {
		return field.ErrorList{field.Required(data.Key(key), "")}
	}
	if err := json.Unmarshal(value, &map[string]any{}); err != nil {
		return field.ErrorList{field.Invalid(data.Key(key), "<secret contents redacted>", err.Error())}
	}
	return nil
}

// ValidateSecretUpdate keeps the type, and all data of an immutable secret.
func ValidateSecretUpdate(s, old *corev1.Secret) field.ErrorList {
	errs := check.Unchanged(field.NewPath("type"), s.Type, old.Type, nil)
	if old.Immutable != nil && *old.Immutable {
		errs = append(errs, staysImmutable(s.Immutable)...)
		if !sameBytes(s.Data, old.Data) {
			errs = append(errs, immutableData("data"))
		}
	}
	return append(errs, ValidateSecret(s)...)
}

func warnSecret(s *corev1.Secret) []string {
	if s.Type != corev1.SecretTypeTLS {
		return nil
	}
	if _, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]); err != nil {
		return []string{err.Error()}
	}
	return nil
}
