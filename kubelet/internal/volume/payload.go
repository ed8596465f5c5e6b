package volume

import (
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/downward"
)

// File is one file of a volume whose content is an object's.
type File struct {
	Data []byte
	Mode int32
	// Owner is the file's user; nil is root.
	Owner *int64
}

// Payload is a volume's content, by relative path.
type Payload map[string]File

// defaultMode of files.
const defaultMode int32 = 0o644

func modeOr(m *int32, otherwise int32) int32 {
	if m != nil {
		return *m
	}
	return otherwise
}

func isTrue(b *bool) bool { return b != nil && *b }

// add puts a file in, unless its path leads elsewhere. The API server checks
// paths too; but files of the kubelet are worth a second look.
func (p Payload) add(path string, f File) error {
	clean := filepath.Clean(path)
	if path == "" || !filepath.IsLocal(path) || clean == "." || strings.HasPrefix(clean, "..") {
		return fmt.Errorf("invalid path: %q must be relative and must not begin with '..'", path)
	}
	p[clean] = f
	return nil
}

// addConfigMap puts in a config map's keys: the items, or all of them. c is
// nil when an optional one is missing.
func (p Payload) addConfigMap(c *corev1.ConfigMap, items []corev1.KeyToPath, mode int32, optional bool) error {
	if c == nil {
		return nil
	}
	data := make(map[string][]byte, len(c.Data)+len(c.BinaryData))
	for k, v := range c.Data {
		data[k] = []byte(v)
	}
	for k, v := range c.BinaryData {
		data[k] = v
	}
	return p.addKeys(data, items, mode, optional, "configmap references non-existent config key: %s")
}

// addSecret puts in a secret's keys.
func (p Payload) addSecret(s *corev1.Secret, items []corev1.KeyToPath, mode int32, optional bool) error {
	if s == nil {
		return nil
	}
	return p.addKeys(s.Data, items, mode, optional, "references non-existent secret key: %s")
}

func (p Payload) addKeys(data map[string][]byte, items []corev1.KeyToPath, mode int32, optional bool, missing string) error {
	if len(items) == 0 {
		for k, v := range data {
			if err := p.add(k, File{Data: v, Mode: mode}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		v, ok := data[item.Key]
		switch {
		case !ok && optional:
			continue
		case !ok:
			return fmt.Errorf(missing, item.Key)
		}
		if err := p.add(item.Path, File{Data: v, Mode: modeOr(item.Mode, mode)}); err != nil {
			return err
		}
	}
	return nil
}

// addDownward puts in what the pod may know of itself.
func (p Payload) addDownward(pod downward.Pod, items []corev1.DownwardAPIVolumeFile, mode int32) error {
	for i := range items {
		item := &items[i]
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = downward.Field(pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			text, err = downward.Resource(pod, item.ResourceFieldRef.ContainerName, item.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		if err := p.add(item.Path, File{Data: []byte(text), Mode: modeOr(item.Mode, mode)}); err != nil {
			return err
		}
	}
	return nil
}

// fsUser is the user of the pod's tokens: that of all its containers, if it
// is one and the same.
func fsUser(pod *corev1.Pod) *int64 {
	var of *int64
	same, first := true, true
	each := func(s *corev1.SecurityContext) {
		var uid *int64
		if p := pod.Spec.SecurityContext; p != nil {
			uid = p.RunAsUser
		}
		if s != nil && s.RunAsUser != nil {
			uid = s.RunAsUser
		}
		if uid == nil || !first && *uid != *of {
			same = false
			return
		}
		of, first = uid, false
	}
	for i := range pod.Spec.InitContainers {
		each(pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range pod.Spec.Containers {
		each(pod.Spec.Containers[i].SecurityContext)
	}
	for i := range pod.Spec.EphemeralContainers {
		each(pod.Spec.EphemeralContainers[i].SecurityContext)
	}
	if !same {
		return nil
	}
	return of
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}
