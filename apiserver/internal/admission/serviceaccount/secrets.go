package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// enforceAnnotation on an account limits its pods to the secrets it lists.
const enforceAnnotation = "kubernetes.io/enforce-mountable-secrets"

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation == admission.Create && a.Subresource != "" || a.Operation == admission.Update && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	if a.Operation == admission.Create && mirror(pod) {
		if err := checkMirror(pod); err != nil {
			return a.Forbid(err)
		}
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		return nil
	}
	account, err := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return a.Forbid(fmt.Errorf("error looking up service account %s/%s: %w", a.Namespace, pod.Spec.ServiceAccountName, err))
	}
	if on, _ := strconv.ParseBool(account.Annotations[enforceAnnotation]); !on {
		return nil
	}
	if err := checkSecrets(account, pod, a.Operation == admission.Create); err != nil {
		return a.Forbid(err)
	}
	return nil
}

// checkMirror: a node could read through a mirror pod what no pod of its uses.
func checkMirror(pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a mirror pod may not reference service accounts")
	}
	refs := references{}
	refs.pod(&pod.Spec)
	if len(refs.list) > 0 {
		return errors.New("a mirror pod may not reference secrets")
	}
	for i := range pod.Spec.Volumes {
		if projected := pod.Spec.Volumes[i].Projected; projected != nil {
			for j := range projected.Sources {
				if projected.Sources[j].ServiceAccountToken != nil {
					return errors.New("a mirror pod may not use ServiceAccountToken volume projections")
				}
			}
		}
	}
	return nil
}

// checkSecrets compares what the pod uses with the account's lists. A pod that
// is there already can only gain ephemeral containers.
func checkSecrets(account *corev1.ServiceAccount, pod *corev1.Pod, created bool) error {
	mountable := map[string]bool{}
	for i := range account.Secrets {
		mountable[account.Secrets[i].Name] = true
	}
	refs := references{}
	if created {
		refs.volumes(&pod.Spec)
		refs.containers("init container", pod.Spec.InitContainers)
		refs.containers("container", pod.Spec.Containers)
	}
	refs.ephemeral(&pod.Spec)
	for _, r := range refs.list {
		if !mountable[r.secret] {
			return fmt.Errorf("%s secret.secretName=\"%s\" is not allowed because service account %s does not reference that secret", r.by, r.secret, account.Name)
		}
	}
	if !created {
		return nil
	}
	pull := map[string]bool{}
	for i := range account.ImagePullSecrets {
		pull[account.ImagePullSecrets[i].Name] = true
	}
	for i := range pod.Spec.ImagePullSecrets {
		if name := pod.Spec.ImagePullSecrets[i].Name; !pull[name] {
			return fmt.Errorf("imagePullSecrets[%d].name=\"%s\" is not allowed because service account %s does not reference that imagePullSecret", i, name, account.Name)
		}
	}
	return nil
}

// references are the secrets that a pod uses, and how.
type references struct{ list []reference }

type reference struct{ secret, by string }

func (r *references) add(secret, format string, args ...any) {
	r.list = append(r.list, reference{secret, fmt.Sprintf(format, args...)})
}

// pod collects every secret that a pod names, in whichever way.
func (r *references) pod(s *corev1.PodSpec) {
	r.volumes(s)
	r.drivers(s)
	r.containers("init container", s.InitContainers)
	r.containers("container", s.Containers)
	r.ephemeral(s)
	for i := range s.ImagePullSecrets {
		r.add(s.ImagePullSecrets[i].Name, "imagePullSecrets")
	}
}

func (r *references) volumes(s *corev1.PodSpec) {
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.Secret != nil {
			r.add(v.Secret.SecretName, "volume with")
		}
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				if secret := v.Projected.Sources[j].Secret; secret != nil {
					r.add(secret.Name, "volume with projected")
				}
			}
		}
	}
}

// drivers collects what volumes' drivers are given. The pod itself does not
// see those, so an account's list says nothing of them.
func (r *references) drivers(s *corev1.PodSpec) {
	for i := range s.Volumes {
		for _, secret := range driverSecrets(&s.Volumes[i]) {
			r.add(secret, "volume with")
		}
	}
}

// driverSecrets are the secrets that a volume's driver is given.
func driverSecrets(v *corev1.Volume) []string {
	var out []string
	local := func(ref *corev1.LocalObjectReference) {
		if ref != nil && ref.Name != "" {
			out = append(out, ref.Name)
		}
	}
	switch {
	case v.AzureFile != nil:
		out = append(out, v.AzureFile.SecretName)
	case v.CephFS != nil:
		local(v.CephFS.SecretRef)
	case v.Cinder != nil:
		local(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		local(v.FlexVolume.SecretRef)
	case v.RBD != nil:
		local(v.RBD.SecretRef)
	case v.ScaleIO != nil:
		local(v.ScaleIO.SecretRef)
	case v.ISCSI != nil:
		local(v.ISCSI.SecretRef)
	case v.StorageOS != nil:
		local(v.StorageOS.SecretRef)
	case v.CSI != nil:
		local(v.CSI.NodePublishSecretRef)
	}
	return out
}

func (r *references) containers(kind string, list []corev1.Container) {
	for i := range list {
		r.env(kind, list[i].Name, list[i].Env, list[i].EnvFrom)
	}
}

func (r *references) ephemeral(s *corev1.PodSpec) {
	for i := range s.EphemeralContainers {
		c := &s.EphemeralContainers[i]
		r.env("ephemeral container", c.Name, c.Env, c.EnvFrom)
	}
}

func (r *references) env(kind, name string, env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range env {
		if v := env[i].ValueFrom; v != nil && v.SecretKeyRef != nil {
			r.add(v.SecretKeyRef.Name, "%s %s with envVar %s referencing", kind, name, env[i].Name)
		}
	}
	for i := range from {
		if ref := from[i].SecretRef; ref != nil {
			r.add(ref.Name, "%s %s with envFrom referencing", kind, name)
		}
	}
}
