// Package env makes the environment of a container from all that a pod can
// name: values, config maps, secrets, fields of the pod, resources, files and
// services. Reading config maps and secrets is the only I/O.
package env

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/downward"
)

// Variable is one variable.
type Variable struct{ Name, Value string }

// Objects reads what variables refer to; *object.Store is one.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Options of one environment.
type Options struct {
	Pod downward.Pod
	// Services of the pod's namespace, and the API server's.
	Services []*corev1.Service
	// File reads a file below a volume of the pod, for fileKeyRef; it must
	// not follow links out of the volume. *volume.Manager has one.
	File func(volume, path string) ([]byte, error)
}

// Result is an environment.
type Result struct {
	// Variables have unique names: those of envFrom and services sorted,
	// those of env in order.
	Variables []Variable
	// Warnings are events' texts of reason InvalidEnvironmentVariableNames.
	Warnings []string
}

// Make makes the environment of a container. Its error is the message of
// CreateContainerConfigError.
func Make(ctx context.Context, container *corev1.Container, objects Objects, o Options) (Result, error) {
	m := maker{Options: o, container: container, objects: objects, at: map[string]int{}}
	links := o.Pod.Spec.EnableServiceLinks == nil || *o.Pod.Spec.EnableServiceLinks
	m.services = Services(o.Services, o.Pod.Namespace, links)
	known := Lookup(m.services)
	m.known = func(name string) (string, bool) {
		if i, ok := m.at[name]; ok {
			return m.Variables[i].Value, true
		}
		return known(name)
	}
	for i := range container.EnvFrom {
		if err := m.from(ctx, &container.EnvFrom[i]); err != nil {
			return m.Result, err
		}
	}
	for i := range container.Env {
		if err := m.one(ctx, &container.Env[i]); err != nil {
			return m.Result, err
		}
	}
	for _, v := range m.services {
		if _, ok := m.at[v.Name]; !ok {
			m.set(v.Name, v.Value)
		}
	}
	return m.Result, nil
}

// KeyValues is the runtime's form.
func KeyValues(vars []Variable) []*runtimeapi.KeyValue {
	out := make([]*runtimeapi.KeyValue, len(vars))
	for i, v := range vars {
		out[i] = &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)}
	}
	return out
}

type maker struct {
	Options
	Result
	container *corev1.Container
	objects   Objects
	services  []Variable
	at        map[string]int // of Variables
	known     func(string) (string, bool)
}

func (m *maker) set(name, value string) {
	if i, ok := m.at[name]; ok {
		m.Variables[i].Value = value
		return
	}
	m.at[name] = len(m.Variables)
	m.Variables = append(m.Variables, Variable{name, value})
}

// from takes all keys of an object.
func (m *maker) from(ctx context.Context, s *corev1.EnvFromSource) error {
	switch {
	case s.ConfigMapRef != nil:
		c, err := m.objects.ConfigMap(ctx, m.Pod.Namespace, s.ConfigMapRef.Name)
		if err != nil {
			return unless(s.ConfigMapRef.Optional, err)
		}
		m.all("ConfigMap", c.Name, s.Prefix, c.Data)
	case s.SecretRef != nil:
		c, err := m.objects.Secret(ctx, m.Pod.Namespace, s.SecretRef.Name)
		if err != nil {
			return unless(s.SecretRef.Optional, err)
		}
		data := make(map[string]string, len(c.Data))
		for k, v := range c.Data {
			data[k] = string(v)
		}
		m.all("Secret", c.Name, s.Prefix, data)
	}
	return nil
}

func unless(optional *bool, err error) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (m *maker) all(kind, name, prefix string, data map[string]string) {
	var invalid []string
	for _, k := range slices.Sorted(maps.Keys(data)) {
		if !valid(prefix + k) {
			invalid = append(invalid, prefix+k)
			continue
		}
		m.set(prefix+k, data[k])
	}
	if len(invalid) > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("Keys %q from the EnvFrom %s %s/%s were skipped since they are considered invalid environment variable names.", invalid, lower(kind), m.Pod.Namespace, name))
	}
}

func lower(kind string) string {
	if kind == "Secret" {
		return "secret"
	}
	return "configMap"
}

// valid are names of printable ASCII characters but '='.
func valid(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return name != ""
}

// one makes one variable of env.
func (m *maker) one(ctx context.Context, e *corev1.EnvVar) error {
	if e.ValueFrom == nil {
		m.set(e.Name, Expand(e.Value, m.known))
		return nil
	}
	value, found, err := m.value(ctx, e.ValueFrom)
	if err != nil {
		return err
	}
	if found {
		m.set(e.Name, value)
	}
	return nil
}

// value follows a reference; what is optional need not be found.
func (m *maker) value(ctx context.Context, s *corev1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case s.FieldRef != nil:
		value, err = downward.Field(m.Pod, s.FieldRef.FieldPath)
		return value, err == nil, err
	case s.ResourceFieldRef != nil:
		value, err = downward.Resource(m.Pod, m.container.Name, s.ResourceFieldRef)
		return value, err == nil, err
	case s.ConfigMapKeyRef != nil:
		return m.configMapKey(ctx, s.ConfigMapKeyRef)
	case s.SecretKeyRef != nil:
		return m.secretKey(ctx, s.SecretKeyRef)
	case s.FileKeyRef != nil:
		return m.fileKey(s.FileKeyRef)
	}
	return "", true, nil
}

func (m *maker) configMapKey(ctx context.Context, s *corev1.ConfigMapKeySelector) (string, bool, error) {
	c, err := m.objects.ConfigMap(ctx, m.Pod.Namespace, s.Name)
	if err != nil {
		return "", false, unless(s.Optional, err)
	}
	v, ok := c.Data[s.Key]
	if !ok && !isTrue(s.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", s.Key, m.Pod.Namespace, s.Name)
	}
	return v, ok, nil
}

func (m *maker) secretKey(ctx context.Context, s *corev1.SecretKeySelector) (string, bool, error) {
	c, err := m.objects.Secret(ctx, m.Pod.Namespace, s.Name)
	if err != nil {
		return "", false, unless(s.Optional, err)
	}
	v, ok := c.Data[s.Key]
	if !ok && !isTrue(s.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", s.Key, m.Pod.Namespace, s.Name)
	}
	return string(v), ok, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
