package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

func validateVolumeMounts(c *corev1.Container, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		if m.Name == "" {
			errs = append(errs, field.Required(p.Index(i).Child("name"), ""))
		}
		if volumes.find(m.Name) == nil {
			errs = append(errs, field.NotFound(p.Index(i).Child("name"), m.Name))
		}
		if m.MountPath == "" {
			errs = append(errs, field.Required(p.Index(i).Child("mountPath"), ""))
		}
		if mountedAt(c.VolumeMounts[:i], m.MountPath) {
			errs = append(errs, field.Invalid(p.Index(i).Child("mountPath"), m.MountPath, "must be unique"))
		}
		if hasDevice(c.VolumeDevices, m.Name) {
			errs = append(errs, field.Invalid(p.Index(i).Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		if deviceAt(c.VolumeDevices, m.MountPath) {
			errs = append(errs, field.Invalid(p.Index(i).Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		errs = append(errs, validateSubPaths(m, p.Index(i))...)
		errs = append(errs, validatePropagation(m, c, p)...)
		errs = append(errs, validateRecursiveReadOnly(m, p)...)
	}
	return errs
}

func validateSubPaths(m *corev1.VolumeMount, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.SubPath != "" {
		errs = append(errs, descendingPath(m.SubPath, p.Child("subPath"))...)
	}
	if m.SubPathExpr != "" {
		if m.SubPath != "" {
			errs = append(errs, field.Invalid(p.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, descendingPath(m.SubPathExpr, p.Child("subPathExpr"))...)
	}
	return errs
}

// validatePropagation reports at the list of mounts, without an index.
// Bidirectional mounts reach the node, which takes a privileged container.
func validatePropagation(m *corev1.VolumeMount, c *corev1.Container, p *field.Path) field.ErrorList {
	if m.MountPropagation == nil {
		return nil
	}
	if errs := check.OneOfSorted(p.Child("mountPropagation"), *m.MountPropagation, corev1.MountPropagationBidirectional,
		corev1.MountPropagationHostToContainer, corev1.MountPropagationNone); errs != nil {
		return errs
	}
	privileged := c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
	if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
		return field.ErrorList{field.Forbidden(p.Child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers")}
	}
	return nil
}

func validateRecursiveReadOnly(m *corev1.VolumeMount, p *field.Path) field.ErrorList {
	if m.RecursiveReadOnly == nil {
		return nil
	}
	p = p.Child("recursiveReadOnly")
	var errs field.ErrorList
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyDisabled:
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			errs = append(errs, field.Forbidden(p, "may only be specified when readOnly is true"))
		}
		if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
			errs = append(errs, field.Forbidden(p, "may only be specified when mountPropagation is None or not specified"))
		}
	default:
		errs = check.OneOfSorted(p, *m.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled,
			corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	}
	return errs
}

// validateVolumeDevices checks raw block devices, which only claims can give.
func validateVolumeDevices(c *corev1.Container, volumes volumeSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range c.VolumeDevices {
		d := &c.VolumeDevices[i]
		at := p.Index(i)
		if d.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		if d.Name != "" && hasDevice(c.VolumeDevices[:i], d.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must be unique"))
		}
		if v := volumes.find(d.Name); v == nil {
			errs = append(errs, field.NotFound(at.Child("name"), d.Name))
		} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		errs = append(errs, validateDevicePath(c.VolumeDevices[:i], d.DevicePath, at)...)
		if hasMount(c.VolumeMounts, d.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		if mountedAt(c.VolumeMounts, d.DevicePath) {
			errs = append(errs, field.Invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
	}
	return errs
}

func validateDevicePath(before []corev1.VolumeDevice, path string, at *field.Path) field.ErrorList {
	if path == "" {
		return field.ErrorList{field.Required(at.Child("devicePath"), "")}
	}
	var errs field.ErrorList
	if deviceAt(before, path) {
		errs = append(errs, field.Invalid(at.Child("devicePath"), path, "must be unique"))
	}
	if noBacksteps(path, at) != nil {
		errs = append(errs, field.Invalid(at.Child("devicePath"), path, "can not contain backsteps ('..')"))
	}
	return errs
}

func hasMount(mounts []corev1.VolumeMount, name string) bool {
	for i := range mounts {
		if mounts[i].Name == name {
			return true
		}
	}
	return false
}

func mountedAt(mounts []corev1.VolumeMount, path string) bool {
	for i := range mounts {
		if mounts[i].MountPath == path {
			return true
		}
	}
	return false
}

func hasDevice(devices []corev1.VolumeDevice, name string) bool {
	for i := range devices {
		if devices[i].Name == name {
			return true
		}
	}
	return false
}

func deviceAt(devices []corev1.VolumeDevice, path string) bool {
	for i := range devices {
		if devices[i].DevicePath == path {
			return true
		}
	}
	return false
}
