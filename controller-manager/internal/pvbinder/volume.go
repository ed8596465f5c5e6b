package pvbinder

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// VolumePlan is what to write about a volume.
type VolumePlan struct {
	// Unbind the volume from a claim that has taken another.
	Unbind bool
	Phase  corev1.PersistentVolumePhase // "" is as it is
	// Remove the volume, and what is below /tmp at this path.
	Remove string
	// Message and reason of a failure.
	Reason, Message string
}

func (p VolumePlan) String() string {
	switch {
	case p.Unbind:
		return "unbind"
	case p.Remove != "":
		return "remove with " + p.Remove
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

// provisionedBy says which provisioner made a volume, and will delete it.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// released volumes are kept, or left to who made them. One that nobody made,
// and that is to be deleted or emptied all the same, fails: its data is for
// a person to remove.
func released(v *corev1.PersistentVolume, phase func(corev1.PersistentVolumePhase) VolumePlan) VolumePlan {
	if v.Status.Phase != corev1.VolumeReleased && v.Status.Phase != corev1.VolumeFailed {
		return phase(corev1.VolumeReleased)
	}
	fail := func(reason, message string) VolumePlan {
		if v.Status.Phase == corev1.VolumeFailed && v.Status.Message == message {
			return VolumePlan{}
		}
		return VolumePlan{Phase: corev1.VolumeFailed, Reason: reason, Message: message}
	}
	switch v.Spec.PersistentVolumeReclaimPolicy {
	case corev1.PersistentVolumeReclaimRecycle:
		return fail("VolumeFailedRecycle", "No recycler plugin found for the volume!")
	case corev1.PersistentVolumeReclaimDelete:
		if v.Annotations[provisionedBy] != "" || v.DeletionTimestamp != nil {
			return phase(corev1.VolumeReleased)
		}
		if h := v.Spec.HostPath; h != nil {
			if below, ok := strings.CutPrefix(path.Clean(h.Path), "/tmp/"); ok {
				return VolumePlan{Remove: below}
			}
			return fail("VolumeFailedDelete", "host_path deleter only supports /tmp/.+ but received provided "+h.Path)
		}
		return fail("VolumeFailedDelete", fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name))
	}
	return phase(corev1.VolumeReleased)
}
