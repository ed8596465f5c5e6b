// Package alwayspullimages makes every container pull its image, so that a
// node's copy of a private image serves only those who may pull it.
package alwayspullimages

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements AlwaysPullImages.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "AlwaysPullImages" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	if pod := subject(a); pod != nil {
		each(&pod.Spec, func(policy *corev1.PullPolicy, _ *field.Path) { *policy = corev1.PullAlways })
		for i := range pod.Spec.Volumes {
			if image := pod.Spec.Volumes[i].Image; image != nil {
				image.PullPolicy = corev1.PullAlways
			}
		}
	}
	return nil
}

// Validate implements admission.Validator: a webhook may have changed it.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	pod := subject(a)
	if pod == nil {
		return nil
	}
	var errs field.ErrorList
	each(&pod.Spec, func(policy *corev1.PullPolicy, path *field.Path) {
		if *policy != corev1.PullAlways {
			errs = append(errs, field.NotSupported(path.Child("imagePullPolicy"), *policy, []corev1.PullPolicy{corev1.PullAlways}))
		}
	})
	for i := range pod.Spec.Volumes {
		if image := pod.Spec.Volumes[i].Image; image != nil && image.PullPolicy != corev1.PullAlways {
			errs = append(errs, field.NotSupported(field.NewPath("spec", "volumes").Index(i).Child("image", "pullPolicy"), image.PullPolicy, []corev1.PullPolicy{corev1.PullAlways}))
		}
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), pod.Name, errs)
	}
	return nil
}

// subject is the pod whose images this is about: a new one, or one with new
// images or ephemeral containers. Other updates must work for pods that were
// there before the plugin was turned on.
func subject(a *admission.Attributes) *corev1.Pod {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	if old, ok := a.Old.(*corev1.Pod); ok && sameImages(&pod.Spec, &old.Spec) {
		return nil
	}
	return pod
}

func sameImages(a, b *corev1.PodSpec) bool {
	images := map[string]bool{}
	walk(b, func(image string, _ *corev1.PullPolicy, _ *field.Path) { images[image] = true })
	same := true
	walk(a, func(image string, _ *corev1.PullPolicy, _ *field.Path) { same = same && images[image] })
	return same
}

func each(s *corev1.PodSpec, visit func(*corev1.PullPolicy, *field.Path)) {
	walk(s, func(_ string, policy *corev1.PullPolicy, path *field.Path) { visit(policy, path) })
}

func walk(s *corev1.PodSpec, visit func(image string, policy *corev1.PullPolicy, path *field.Path)) {
	spec := field.NewPath("spec")
	for i := range s.InitContainers {
		visit(s.InitContainers[i].Image, &s.InitContainers[i].ImagePullPolicy, spec.Child("initContainers").Index(i))
	}
	for i := range s.Containers {
		visit(s.Containers[i].Image, &s.Containers[i].ImagePullPolicy, spec.Child("containers").Index(i))
	}
	for i := range s.EphemeralContainers {
		visit(s.EphemeralContainers[i].Image, &s.EphemeralContainers[i].ImagePullPolicy, spec.Child("ephemeralContainers").Index(i))
	}
}
