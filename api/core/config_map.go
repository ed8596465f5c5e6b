package core

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func configMapResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ConfigMap",
		Plural: "configmaps", Singular: "configmap",
		ShortNames:    []string{"cm"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ConfigMap) },
		NewList:       func() runtime.Object { return new(corev1.ConfigMapList) },
		StoragePrefix: "configmaps",
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.Field("Data", corev1.ConfigMap{}, "data"),
			table.Age(),
		},
		Row: scheme.Rows(func(c *corev1.ConfigMap, now metav1.Time) []any {
			return []any{c.Name, int64(len(c.Data) + len(c.BinaryData)), table.Since(c.CreationTimestamp, now)}
		}),
		Strategy: scheme.Hooks[corev1.ConfigMap]{
			ValidateCreate: ValidateConfigMap,
			ValidateUpdate: ValidateConfigMapUpdate,
		}.Erase(),
	}
}

// ValidateConfigMap checks keys and size.
func ValidateConfigMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for key, value := range c.Data {
		size += len(value)
		path := field.NewPath("data").Key(key)
		errs = append(errs, configKey(path, key)...)
		if _, both := c.BinaryData[key]; both {
			errs = append(errs, field.Invalid(path, key, "duplicate of key present in binaryData"))
		}
	}
	inOrder(errs)
	n := len(errs)
	for key, value := range c.BinaryData {
		size += len(value)
		errs = append(errs, configKey(field.NewPath("binaryData").Key(key), key)...)
	}
	inOrder(errs[n:])
	if size > corev1.MaxSecretSize {
		// The whole object is meant; its path has always been written "[]".
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}

// ValidateConfigMapUpdate checks what an immutable map keeps.
func ValidateConfigMapUpdate(c, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	if old.Immutable != nil && *old.Immutable {
		errs = staysImmutable(c.Immutable)
		if !maps.Equal(c.Data, old.Data) {
			errs = append(errs, immutableData("data"))
		}
		if !sameBytes(c.BinaryData, old.BinaryData) {
			errs = append(errs, immutableData("binaryData"))
		}
	}
	return append(errs, ValidateConfigMap(c)...)
}

// configKey checks a key of a ConfigMap or Secret: a file name.
func configKey(path *field.Path, key string) field.ErrorList {
	if plainConfigKey(key) {
		return nil
	}
	return check.Messages(path, key, utilvalidation.IsConfigMapKey(key))
}

// plainConfigKey decides without a regular expression; the message is the
// library's.
func plainConfigKey(key string) bool {
	if key == "" || len(key) > utilvalidation.DNS1123SubdomainMaxLength || key == "." || strings.HasPrefix(key, "..") {
		return false
	}
	for i := range len(key) {
		if c := key[i]; !isAlnum(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func staysImmutable(immutable *bool) field.ErrorList {
	if immutable == nil || !*immutable {
		return field.ErrorList{immutableData("immutable")}
	}
	return nil
}

func immutableData(name string) *field.Error {
	return field.Forbidden(field.NewPath(name), "field is immutable when `immutable` is set")
}

func sameBytes(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

// inOrder sorts the errors of a map by path: maps come in random order.
func inOrder(errs field.ErrorList) {
	if len(errs) > 1 {
		slices.SortStableFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	}
}
