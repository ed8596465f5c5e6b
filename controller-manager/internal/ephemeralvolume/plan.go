// Package ephemeralvolume makes the claims of pods' generic ephemeral volumes.
package ephemeralvolume

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// plan gives the claims that a pod lacks, and the names of those that are
// somebody else's.
func plan(p *corev1.Pod, have func(name string) *corev1.PersistentVolumeClaim) (create []*corev1.PersistentVolumeClaim, foreign []string) {
	if p.DeletionTimestamp != nil {
		return nil, nil
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Ephemeral == nil || v.Ephemeral.VolumeClaimTemplate == nil {
			continue
		}
		name := p.Name + "-" + v.Name
		if c := have(name); c != nil {
			if !metav1.IsControlledBy(c, p) {
				foreign = append(foreign, name)
			}
			continue
		}
		t := v.Ephemeral.VolumeClaimTemplate
		create = append(create, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: p.Namespace, Name: name, Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations),
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(p, corev1.SchemeGroupVersion.WithKind("Pod"))},
			},
			Spec: *t.Spec.DeepCopy(),
		})
	}
	return create, foreign
}
