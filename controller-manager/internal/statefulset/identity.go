package statefulset

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/pod"
)

var gvk = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// podName of an ordinal.
func podName(s *appsv1.StatefulSet, ordinal int) string { return s.Name + "-" + strconv.Itoa(ordinal) }

// ordinalOf a pod of the set; ok is false for names that no pod of it has.
func ordinalOf(s *appsv1.StatefulSet, name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, s.Name+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == digits
}

func firstOrdinal(s *appsv1.StatefulSet) int {
	if s.Spec.Ordinals != nil {
		return int(s.Spec.Ordinals.Start)
	}
	return 0
}

// claimName of a claim template for an ordinal.
func claimName(s *appsv1.StatefulSet, template string, ordinal int) string {
	return template + "-" + podName(s, ordinal)
}

// newPod is the pod of an ordinal, of a template.
func newPod(s *appsv1.StatefulSet, t *corev1.PodTemplateSpec, revision string, ordinal int) *corev1.Pod {
	p := pod.FromTemplate(t, s.Namespace, s.Name, owner.Ref(s, gvk))
	p.GenerateName, p.Name = "", podName(s, ordinal)
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, s.Spec.ServiceName
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	maps.Copy(p.Labels, identityLabels(s, ordinal))
	p.Labels[appsv1.StatefulSetRevisionLabel] = revision
	mountClaims(s, p, ordinal)
	return p
}

func identityLabels(s *appsv1.StatefulSet, ordinal int) map[string]string {
	return map[string]string{appsv1.StatefulSetPodNameLabel: podName(s, ordinal), appsv1.PodIndexLabel: strconv.Itoa(ordinal)}
}

// mountClaims makes the volumes of claim templates those of the ordinal's
// claims; volumes of the template with such names give way.
func mountClaims(s *appsv1.StatefulSet, p *corev1.Pod, ordinal int) {
	var volumes []corev1.Volume
	names := map[string]bool{}
	for i := range s.Spec.VolumeClaimTemplates {
		name := s.Spec.VolumeClaimTemplates[i].Name
		names[name] = true
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(s, name, ordinal)},
		}})
	}
	for i := range p.Spec.Volumes {
		if !names[p.Spec.Volumes[i].Name] {
			volumes = append(volumes, p.Spec.Volumes[i])
		}
	}
	p.Spec.Volumes = volumes
}

// hasIdentity reports whether a pod's labels say who it is.
func hasIdentity(s *appsv1.StatefulSet, p *corev1.Pod, ordinal int) bool {
	for k, v := range identityLabels(s, ordinal) {
		if p.Labels[k] != v {
			return false
		}
	}
	return true
}

// newClaims are the claims of an ordinal.
func newClaims(s *appsv1.StatefulSet, ordinal int) []*corev1.PersistentVolumeClaim {
	var out []*corev1.PersistentVolumeClaim
	for i := range s.Spec.VolumeClaimTemplates {
		c := s.Spec.VolumeClaimTemplates[i].DeepCopy()
		c.Namespace, c.Name = s.Namespace, claimName(s, c.Name, ordinal)
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		if s.Spec.Selector != nil {
			maps.Copy(c.Labels, s.Spec.Selector.MatchLabels)
		}
		c.Status = corev1.PersistentVolumeClaimStatus{}
		out = append(out, c)
	}
	return out
}

// retention of the set's claims, Retain where nothing is said.
func retention(s *appsv1.StatefulSet) (deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) {
	deleted, scaled = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	if p := s.Spec.PersistentVolumeClaimRetentionPolicy; p != nil {
		if p.WhenDeleted != "" {
			deleted = p.WhenDeleted
		}
		if p.WhenScaled != "" {
			scaled = p.WhenScaled
		}
	}
	return deleted, scaled
}

// claimOwners are the owner references that a claim should have: the set's, so
// that it goes with the set; the pod's, when the set has become too small for
// the pod; those of others stay. p may be nil.
func claimOwners(s *appsv1.StatefulSet, p *corev1.Pod, condemned bool, have []metav1.OwnerReference) []metav1.OwnerReference {
	const remove = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	deleted, scaled := retention(s)
	var want *metav1.OwnerReference
	switch {
	case scaled == remove && condemned && p != nil:
		want = metav1.NewControllerRef(p, corev1.SchemeGroupVersion.WithKind("Pod"))
	case deleted == remove && !(scaled == remove && condemned):
		want = owner.Ref(s, gvk)
	}
	ours := func(r metav1.OwnerReference) bool {
		return r.UID == s.UID || r.Kind == "Pod" && r.APIVersion == "v1" && (p == nil || r.Name == p.Name)
	}
	out := slices.DeleteFunc(slices.Clone(have), ours)
	if want != nil {
		out = append(out, *want)
	}
	return out
}

// doomed reports whether a claim belongs to an earlier pod of a name, of when
// the set was smaller, and will be collected. v is the pod that has the name
// now, or nil.
func doomed(s *appsv1.StatefulSet, c *corev1.PersistentVolumeClaim, v *corev1.Pod, name string) bool {
	if _, scaled := retention(s); scaled != appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		return false
	}
	return slices.ContainsFunc(c.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == "Pod" && r.APIVersion == "v1" && r.Name == name && (v == nil || r.UID != v.UID)
	})
}
