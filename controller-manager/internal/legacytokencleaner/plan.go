// Package legacytokencleaner takes away the tokens in Secrets that were once
// made for every service account and that nobody uses: they are declared
// invalid first, and deleted when nobody has missed them for as long again.
package legacytokencleaner

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Labels of secrets with tokens: the API server keeps the one, and heeds the
// other.
const (
	lastUsed     = "kubernetes.io/legacy-token-last-used"
	invalidSince = "kubernetes.io/legacy-token-invalid-since"
)

// observed is a secret of the type of service accounts' tokens.
type observed struct {
	secret  *corev1.Secret
	account *corev1.ServiceAccount // nil when there is none
	// mounted: a pod uses the secret.
	mounted bool
	// period is how long a token must not have been used.
	period time.Duration
	now    time.Time
}

// Plan is what becomes of a secret; the zero value is nothing.
type Plan struct {
	// Label the secret as invalid since this day.
	Label  string
	Delete bool
}

func (p Plan) String() string {
	switch {
	case p.Delete:
		return "delete"
	case p.Label != "":
		return "invalid since " + p.Label
	}
	return ""
}

func plan(o observed) Plan {
	s, oldest := o.secret, o.now.Add(-o.period)
	switch {
	case s.DeletionTimestamp != nil || o.mounted || !generated(s, o.account):
		return Plan{}
	case s.CreationTimestamp.After(oldest):
		return Plan{}
	case since(s, lastUsed).After(oldest):
		return Plan{}
	}
	invalid := since(s, invalidSince)
	switch {
	case invalid.IsZero():
		return Plan{Label: o.now.UTC().Format(time.DateOnly)}
	case invalid.After(oldest):
		return Plan{}
	}
	return Plan{Delete: true}
}

// generated reports whether a secret was made by itself: its account names it.
// Those that people made are theirs to delete.
func generated(s *corev1.Secret, a *corev1.ServiceAccount) bool {
	return a != nil && string(a.UID) == s.Annotations[corev1.ServiceAccountUIDKey] &&
		slices.ContainsFunc(a.Secrets, func(r corev1.ObjectReference) bool { return r.Name == s.Name })
}

// since is the day in a label; zero is none, or none that can be read.
func since(s *corev1.Secret, label string) time.Time {
	t, err := time.Parse(time.DateOnly, s.Labels[label])
	if err != nil {
		return time.Time{}
	}
	return t
}

// tracked is from when on it is known whether tokens are used; ok is false as
// long as that is not for a whole period.
func tracked(c *corev1.ConfigMap, period time.Duration, now time.Time) bool {
	from, err := time.Parse(time.DateOnly, c.Data["since"])
	return err == nil && !now.Before(from.Add(period))
}

// secretsOf are the names of the secrets that a pod uses in any way.
func secretsOf(p *corev1.Pod) (out []string) {
	for _, r := range p.Spec.ImagePullSecrets {
		out = append(out, r.Name)
	}
	for _, l := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range l {
			out = append(out, secretsOfContainer(l[i].EnvFrom, l[i].Env)...)
		}
	}
	for i := range p.Spec.EphemeralContainers {
		e := &p.Spec.EphemeralContainers[i]
		out = append(out, secretsOfContainer(e.EnvFrom, e.Env)...)
	}
	for i := range p.Spec.Volumes {
		out = append(out, secretsOfVolume(&p.Spec.Volumes[i])...)
	}
	return out
}

func secretsOfContainer(from []corev1.EnvFromSource, env []corev1.EnvVar) (out []string) {
	for i := range from {
		if r := from[i].SecretRef; r != nil {
			out = append(out, r.Name)
		}
	}
	for i := range env {
		if f := env[i].ValueFrom; f != nil && f.SecretKeyRef != nil {
			out = append(out, f.SecretKeyRef.Name)
		}
	}
	return out
}

func secretsOfVolume(v *corev1.Volume) (out []string) {
	switch {
	case v.Secret != nil:
		return []string{v.Secret.SecretName}
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				out = append(out, s.Name)
			}
		}
	case v.CSI != nil && v.CSI.NodePublishSecretRef != nil:
		return []string{v.CSI.NodePublishSecretRef.Name}
	}
	return out
}
