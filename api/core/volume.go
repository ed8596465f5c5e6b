package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// volumeSet are the volumes of a pod that are valid, by name: what a container
// may mount.
type volumeSet []corev1.Volume

func (s volumeSet) find(name string) *corev1.VolumeSource {
	for i := range s {
		if s[i].Name == name {
			return &s[i].VolumeSource
		}
	}
	return nil
}

// validateVolumes checks a pod's volumes. A volume with errors is not in the
// returned set, so that mounts of it are reported too.
func validateVolumes(volumes []corev1.Volume, podName string, path *field.Path) (volumeSet, field.ErrorList) {
	var errs field.ErrorList
	good := volumeSet(volumes)
	copied := false
	for i := range volumes {
		v := &volumes[i]
		p := path.Index(i)
		found := validateVolumeSource(&v.VolumeSource, v.Name, podName, p)
		if v.Name == "" {
			found = append(found, field.Required(p.Child("name"), ""))
		} else if !plainLabel(v.Name) {
			found = append(found, check.Label(p.Child("name"), v.Name)...)
		}
		before := good
		if !copied {
			before = good[:i]
		}
		if before.find(v.Name) != nil {
			found = append(found, field.Duplicate(p.Child("name"), v.Name))
		}
		if len(found) > 0 && !copied {
			good = append(volumeSet(nil), volumes[:i]...)
			copied = true
		}
		if len(found) == 0 && copied {
			good = append(good, *v)
		}
		errs = append(errs, found...)
	}
	return good, errs
}

// sourceCheck is one kind of volume source: its name in the API and its rule.
type sourceCheck struct {
	name  string
	set   func(*corev1.VolumeSource) bool
	check func(*corev1.VolumeSource, *field.Path) field.ErrorList
}

// validateVolumeSource requires exactly one source and checks it.
func validateVolumeSource(s *corev1.VolumeSource, name, podName string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	for i := range volumeSources {
		c := &volumeSources[i]
		if !c.set(s) {
			continue
		}
		if n++; n > 1 {
			errs = append(errs, field.Forbidden(path.Child(c.name), "may not specify more than 1 volume type"))
			continue
		}
		errs = append(errs, c.check(s, path)...)
		if s.Ephemeral != nil && c.name == "ephemeral" {
			errs = append(errs, validateGeneratedName(name, podName, path.Child("name"), "PVC")...)
		}
	}
	if n == 0 {
		errs = append(errs, field.Required(path, "must specify a volume type"))
	}
	return errs
}

// validateGeneratedName checks POD-NAME, the name of an object made for a pod.
func validateGeneratedName(name, podName string, path *field.Path, kind string) field.ErrorList {
	if podName == "" || name == "" {
		return nil
	}
	var errs field.ErrorList
	full := podName + "-" + name
	for _, msg := range apivalidation.NameIsDNSSubdomain(full, false) {
		errs = append(errs, field.Invalid(path, name, fmt.Sprintf("%s name %q: %v", kind, full, msg)))
	}
	return errs
}

// descendingPath takes relative paths that stay below their start.
func descendingPath(p string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(p, "/") {
		errs = append(errs, field.Invalid(path, p, "must be a relative path"))
	}
	return append(errs, noBacksteps(p, path)...)
}

func noBacksteps(p string, path *field.Path) field.ErrorList {
	if strings.Contains(p, "..") {
		for part := range strings.SplitSeq(p, "/") {
			if part == ".." {
				return field.ErrorList{field.Invalid(path, p, "must not contain '..'")}
			}
		}
	}
	return nil
}

// projectedPath is descendingPath for files that the kubelet writes, where it
// keeps names that begin with two dots to itself.
func projectedPath(p string, path *field.Path, name string) field.ErrorList {
	if p == "" || p[0] != '/' && !strings.Contains(p, "..") {
		return nil
	}
	path = path.Child(name)
	errs := descendingPath(p, path)
	if strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") {
		errs = append(errs, field.Invalid(path, p, "must not start with '..'"))
	}
	return errs
}

// fileMode allows the permission bits and nothing else.
func fileMode(mode *int32, path *field.Path, name string) field.ErrorList {
	if mode == nil || *mode >= 0 && *mode <= 0o777 {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child(name), *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
}

func keysToPaths(items []corev1.KeyToPath, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		errs = append(errs, keyToPath(&items[i], path.Index(i))...)
	}
	return errs
}

func keyToPath(k *corev1.KeyToPath, path *field.Path) field.ErrorList {
	errs := required(path, "key", k.Key, "path", k.Path)
	errs = append(errs, projectedPath(k.Path, path, "path")...)
	return append(errs, fileMode(k.Mode, path, "mode")...)
}

func secretRefName(ref *corev1.LocalObjectReference, path *field.Path, name string) field.ErrorList {
	if ref == nil || ref.Name != "" {
		return nil
	}
	return field.ErrorList{field.Required(path.Child(name, "name"), "")}
}

// required reports the empty values among pairs of child name and value.
func required(path *field.Path, pairs ...string) field.ErrorList {
	var errs field.ErrorList
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			errs = append(errs, field.Required(path.Child(pairs[i]), ""))
		}
	}
	return errs
}
