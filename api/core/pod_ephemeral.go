package core

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

const notEphemeral = "cannot be set for an Ephemeral Container"

// ephemeralFields are those that make sense in a container that is added to a
// running pod and never restarted.
var ephemeralFields = []string{
	"Name", "Image", "Command", "Args", "WorkingDir", "EnvFrom", "Env", "VolumeMounts", "VolumeDevices",
	"TerminationMessagePath", "TerminationMessagePolicy", "ImagePullPolicy", "SecurityContext", "Stdin", "StdinOnce", "TTY",
}

func (c *podChecks) ephemeralContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	list := c.spec.EphemeralContainers
	for i := range list {
		e, p := &list[i], path.Index(i)
		ct := (*corev1.Container)(&e.EphemeralContainerCommon)
		errs = append(errs, c.container(ct, p)...)
		earlier := slices.ContainsFunc(list[:i], func(o corev1.EphemeralContainer) bool { return o.Name == e.Name })
		inPod := func(name string) bool { return named(c.spec.Containers, name) || named(c.spec.InitContainers, name) }
		if earlier || inPod(e.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), e.Name))
		}
		if e.TargetContainerName != "" && !inPod(e.TargetContainerName) {
			errs = append(errs, field.NotFound(p.Child("targetContainerName"), e.TargetContainerName))
		}
		errs = append(errs, onlyFields(&e.EphemeralContainerCommon, p, notEphemeral, ephemeralFields...)...)
		for j := range e.VolumeMounts {
			at := p.Child("volumeMounts").Index(j)
			if e.VolumeMounts[j].SubPath != "" {
				errs = append(errs, field.Forbidden(at.Child("subPath"), notEphemeral))
			}
			if e.VolumeMounts[j].SubPathExpr != "" {
				errs = append(errs, field.Forbidden(at.Child("subPathExpr"), notEphemeral))
			}
		}
	}
	return errs
}

// onlyFields forbids all fields of a struct that are set but not allowed, so
// that fields which are added to the API are forbidden until thought about.
func onlyFields[T any](v *T, p *field.Path, message string, allowed ...string) field.ErrorList {
	var errs field.ErrorList
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		f := s.Type().Field(i)
		if slices.Contains(allowed, f.Name) || s.Field(i).IsZero() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		errs = append(errs, field.Forbidden(p.Child(name), message))
	}
	return errs
}

// prepareEphemeralUpdate keeps everything but the ephemeral containers.
func prepareEphemeralUpdate(_ scheme.Context, p, old *corev1.Pod) {
	containers, version := p.Spec.EphemeralContainers, p.ResourceVersion
	old.DeepCopyInto(p)
	p.Spec.EphemeralContainers, p.ResourceVersion = containers, version
	dropGatedFields(&p.Spec, &old.Spec)
}

// validateEphemeralUpdate lets ephemeral containers be added, never changed.
func validateEphemeralUpdate(p, old *corev1.Pod) field.ErrorList {
	errs := validatePodAgain(p, old)
	if _, ok := old.Annotations[mirrorAnnotation]; ok {
		return append(errs, field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers"))
	}
	path := field.NewPath("spec", "ephemeralContainers")
	for i := range old.Spec.EphemeralContainers {
		was := &old.Spec.EphemeralContainers[i]
		j := slices.IndexFunc(p.Spec.EphemeralContainers, func(e corev1.EphemeralContainer) bool { return e.Name == was.Name })
		if j < 0 {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", was.Name)))
		} else if now := &p.Spec.EphemeralContainers[j]; !apiequality.Semantic.DeepEqual(was, now) {
			difference := diff.Diff(internalform.Of(was), internalform.Of(now))
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", was.Name, difference)))
		}
	}
	return errs
}
