package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// Fields of a pod that a file of a downward API volume and that an environment
// variable may show. Labels and annotations may also be named one by one.
var (
	volumeFieldPaths = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	envFieldPaths    = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	// podFieldPaths are all that the downward API knows at v1.
	podFieldPaths = append([]string{
		"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase",
	}, envFieldPaths...)
)

func validateEnv(env []corev1.EnvVar, volumes volumeSet, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range env {
		e := &env[i]
		if e.Name == "" {
			errs = append(errs, field.Required(path.Index(i).Child("name"), ""))
		} else if !plainEnvName(e.Name) {
			errs = append(errs, check.Messages(path.Index(i).Child("name"), e.Name, utilvalidation.IsRelaxedEnvVarName(e.Name))...)
		}
		if e.ValueFrom != nil {
			errs = append(errs, validateEnvSource(e, volumes, path.Index(i).Child("valueFrom"))...)
		}
	}
	return errs
}

// plainEnvName decides the common names without looking further.
func plainEnvName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '=' {
			return false
		}
	}
	return s != ""
}

func validateEnvSource(e *corev1.EnvVar, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	from, n := e.ValueFrom, 0
	if from.FieldRef != nil {
		n++
		errs = append(errs, validateFieldRef(from.FieldRef, envFieldPaths, p)...)
	}
	if from.ResourceFieldRef != nil {
		n++
		errs = append(errs, validateResourceFieldRef(from.ResourceFieldRef, false, p.Child("resourceFieldRef"))...)
	}
	if r := from.ConfigMapKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("configMapKeyRef"))...)
	}
	if r := from.SecretKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(r.Name, r.Key, p.Child("secretKeyRef"))...)
	}
	if from.FileKeyRef != nil {
		n++
		errs = append(errs, validateFileKeyRef(from.FileKeyRef, volumes, p.Child("fileKeyRef"))...)
	}
	switch {
	case n == 0:
		errs = append(errs, field.Invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(p, "", "may not be specified when `value` is not empty"))
	case n > 1:
		errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(name, key string, p *field.Path) field.ErrorList {
	errs := required(p, "name", name, "key", key)
	if key != "" && !plainConfigKey(key) {
		errs = append(errs, configKey(p.Child("key"), key)...)
	}
	return errs
}

// maxFileKey is the longest key of an environment file.
const maxFileKey = 128

func validateFileKeyRef(f *corev1.FileKeySelector, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if f.Key == "" {
		errs = append(errs, field.Required(p.Child("key"), ""))
	} else {
		errs = append(errs, check.Messages(p.Child("key"), f.Key, utilvalidation.IsRelaxedEnvVarName(f.Key))...)
		if len(f.Key) > maxFileKey {
			errs = append(errs, field.TooLong(p.Child("key"), f.Key, maxFileKey))
		}
	}
	if f.Path == "" {
		errs = append(errs, field.Required(p.Child("path"), ""))
	} else {
		errs = append(errs, projectedPath(f.Path, p, "path")...)
	}
	if f.VolumeName == "" {
		return append(errs, field.Required(p.Child("volumeName"), ""))
	}
	if v := volumes.find(f.VolumeName); v == nil {
		errs = append(errs, field.NotFound(p.Child("volumeName"), f.VolumeName))
	} else if v.EmptyDir == nil {
		errs = append(errs, field.Invalid(p.Child("volumeName"), f.VolumeName, "referenced volume must be of type emptyDir"))
	}
	return errs
}

func validateEnvFrom(sources []corev1.EnvFromSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range sources {
		s := &sources[i]
		if s.Prefix != "" && !plainEnvName(s.Prefix) {
			errs = append(errs, check.Messages(path.Index(i).Child("prefix"), s.Prefix, utilvalidation.IsRelaxedEnvVarName(s.Prefix))...)
		}
		n := 0
		if s.ConfigMapRef != nil {
			n++
			errs = append(errs, required(path.Index(i).Child("configMapRef"), "name", s.ConfigMapRef.Name)...)
		}
		if s.SecretRef != nil {
			n++
			errs = append(errs, required(path.Index(i).Child("secretRef"), "name", s.SecretRef.Name)...)
		}
		if n == 0 {
			errs = append(errs, field.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
		} else if n > 1 {
			errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

// validateFieldRef checks the fieldRef of p, a reference to a field of the pod.
func validateFieldRef(f *corev1.ObjectFieldSelector, allowed []string, p *field.Path) field.ErrorList {
	if f.APIVersion == "v1" && slices.Contains(allowed, f.FieldPath) {
		return nil
	}
	p = p.Child("fieldRef")
	if f.APIVersion == "" {
		return field.ErrorList{field.Required(p.Child("apiVersion"), "")}
	}
	if f.FieldPath == "" {
		return field.ErrorList{field.Required(p.Child("fieldPath"), "")}
	}
	path, subscript, err := podField(f)
	if err != nil {
		return field.ErrorList{field.Invalid(p.Child("fieldPath"), f.FieldPath, fmt.Sprintf("error converting fieldPath: %v", err))}
	}
	switch {
	case subscript == nil && !slices.Contains(allowed, path):
		return field.ErrorList{field.NotSupported(p.Child("fieldPath"), path, allowed)}
	case subscript != nil && path == "metadata.annotations":
		key := strings.ToLower(*subscript)
		return check.QualifiedName(p, key)
	case subscript != nil:
		return check.QualifiedName(p, *subscript)
	}
	return nil
}

// podField splits "metadata.labels['key']" and finds out whether v1 pods have
// the field.
func podField(f *corev1.ObjectFieldSelector) (path string, subscript *string, err error) {
	if f.APIVersion != "v1" {
		return "", nil, fmt.Errorf("unsupported pod version: %s", f.APIVersion)
	}
	path = f.FieldPath
	if inner, ok := strings.CutSuffix(path, "']"); ok {
		if before, key, ok := strings.Cut(inner, "['"); ok && before != "" {
			path, subscript = before, &key
		}
	}
	switch {
	case subscript != nil && path != "metadata.labels" && path != "metadata.annotations":
		return "", nil, fmt.Errorf("field label does not support subscript: %s", f.FieldPath)
	case path == "spec.host":
		return "spec.nodeName", nil, nil
	case !slices.Contains(podFieldPaths, path):
		return "", nil, fmt.Errorf("field label not supported: %s", f.FieldPath)
	}
	return path, subscript, nil
}

var containerResourceFields = []string{
	"limits.cpu", "limits.ephemeral-storage", "limits.memory",
	"requests.cpu", "requests.ephemeral-storage", "requests.memory",
}

const byteDivisors = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"

func validateResourceFieldRef(r *corev1.ResourceFieldSelector, inVolume bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case inVolume && r.ContainerName == "":
		errs = append(errs, field.Required(p.Child("containerName"), ""))
	case r.Resource == "":
		errs = append(errs, field.Required(p.Child("resource"), ""))
	case !slices.Contains(containerResourceFields, r.Resource) && !isHugePagesField(r.Resource):
		errs = append(errs, field.NotSupported(p.Child("resource"), r.Resource, containerResourceFields))
	}
	return append(errs, validateDivisor(r, p)...)
}

func isHugePagesField(name string) bool {
	return strings.HasPrefix(name, "limits.hugepages-") || strings.HasPrefix(name, "requests.hugepages-")
}

func validateDivisor(r *corev1.ResourceFieldSelector, p *field.Path) field.ErrorList {
	if r.Divisor.IsZero() {
		return nil
	}
	divisors, what := byteDivisors, ""
	_, name, _ := strings.Cut(r.Resource, ".")
	switch {
	case name == "cpu":
		divisors, what = "1m, 1", "cpu resource"
	case name == "memory":
		what = "memory resource"
	case name == "ephemeral-storage":
		what = "local ephemeral storage resource"
	case isHugePagesField(r.Resource):
		what = "hugepages resource"
	default:
		return nil
	}
	if slices.Contains(strings.Split(divisors, ", "), r.Divisor.String()) {
		return nil
	}
	if name == "cpu" {
		divisors = "1m and 1"
	}
	return field.ErrorList{field.Invalid(p.Child("divisor"), r.Resource, fmt.Sprintf("only divisor's values %s are supported with the %s", divisors, what))}
}
