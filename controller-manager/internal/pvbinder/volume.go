package pvbinder

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// VolumePlan is what to write about a volume.
type VolumePlan struct {
	// Unbind the volume from a claim that has taken another.
	Unbind bool
	Phase  corev1.PersistentVolumePhase // "" is as it is
	// Message and reason of a failure.
	Reason, Message string
}

func (p VolumePlan) String() string {
	switch {
	case p.Unbind:
		return "unbind"
	case p.Message != "":
		return fmt.Sprintf("%s %s: %s", p.Phase, p.Reason, p.Message)
	}
	return string(p.Phase)
}

// planVolume decides about a volume; claim is the one it is reserved for, nil
// when that is gone.
func planVolume(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) VolumePlan {
	phase := func(f corev1.PersistentVolumePhase) VolumePlan {
		if v.Status.Phase == f {
			return VolumePlan{}
		}
		return VolumePlan{Phase: f}
	}
	ref := v.Spec.ClaimRef
	switch {
	case ref == nil || ref.UID == "":
		return phase(corev1.VolumeAvailable)
	case claim == nil || claim.UID != ref.UID:
		return released(v, phase)
	case claim.Spec.VolumeName == v.Name:
		return phase(corev1.VolumeBound)
	case claim.Spec.VolumeName == "":
		return VolumePlan{} // the claim is about to take it
	case v.Annotations[boundByUs] != "":
		return VolumePlan{Unbind: true}
	}
	return released(v, phase)
}

// released volumes are kept, or left to who made them.
func released(v *corev1.PersistentVolume, phase func(corev1.PersistentVolumePhase) VolumePlan) VolumePlan {
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		if v.Status.Phase == corev1.VolumeFailed {
			return VolumePlan{}
		}
		return VolumePlan{Phase: corev1.VolumeFailed, Reason: "VolumeFailedRecycle", Message: "No recycler plugin found for the volume!"}
	}
	return phase(corev1.VolumeReleased)
}
