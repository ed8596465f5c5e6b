package pvbinder

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Annotations of claims and volumes.
const (
	bindCompleted   = "pv.kubernetes.io/bind-completed"
	boundByUs       = "pv.kubernetes.io/bound-by-controller"
	selectedNode    = "volume.kubernetes.io/selected-node"
	provisionerKey  = "volume.kubernetes.io/storage-provisioner"
	provisionerBeta = "volume.beta.kubernetes.io/storage-provisioner"
	defaultClass    = "storageclass.kubernetes.io/is-default-class"
	defaultBeta     = "storageclass.beta.kubernetes.io/is-default-class"
	// inTree provisioners were part of Kubernetes once.
	inTree = "kubernetes.io/"
)

// view is what a decision about a claim looks at.
type view struct {
	claim   *corev1.PersistentVolumeClaim
	volumes iter.Seq[*corev1.PersistentVolume]
	volume  func(name string) (*corev1.PersistentVolume, bool)
	class   func(name string) (*storagev1.StorageClass, bool)
	classes iter.Seq[*storagev1.StorageClass]
	// consumer is a pod that uses the claim and waits for a node.
	consumer string
	dynamic  bool
}

// Note is an event.
type Note struct{ Type, Reason, Text string }

// ClaimPlan is what to write, in this order.
type ClaimPlan struct {
	Volume *corev1.PersistentVolume
	Claim  *corev1.PersistentVolumeClaim
	Status *corev1.PersistentVolumeClaimStatus
	Note   *Note
}

func (p ClaimPlan) String() string {
	var b strings.Builder
	if v := p.Volume; v != nil {
		fmt.Fprintf(&b, "volume %s for %s/%s %s%s\n", v.Name, v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.Name, v.Spec.ClaimRef.UID, annotations(v.Annotations))
	}
	if c := p.Claim; c != nil {
		fmt.Fprintf(&b, "claim class=%s volume=%s%s\n", classOf(c), c.Spec.VolumeName, annotations(c.Annotations))
	}
	if s := p.Status; s != nil {
		size := s.Capacity[corev1.ResourceStorage]
		fmt.Fprintf(&b, "claim is %s %s %v\n", s.Phase, &size, s.AccessModes)
	}
	if n := p.Note; n != nil {
		fmt.Fprintf(&b, "%s %s: %s\n", n.Type, n.Reason, n.Text)
	}
	return b.String()
}

func annotations(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s=%s", k, m[k])
	}
	return b.String()
}

func planClaim(w view) ClaimPlan {
	c := w.claim
	if _, done := c.Annotations[bindCompleted]; done {
		return w.bound()
	}
	if c.DeletionTimestamp != nil {
		return ClaimPlan{}
	}
	if c.Spec.VolumeName != "" {
		return w.requested()
	}
	if c.Spec.StorageClassName == nil && classOf(c) == "" {
		if name := w.defaultClass(); name != "" {
			now := c.DeepCopy()
			now.Spec.StorageClassName = &name
			return ClaimPlan{Claim: now}
		}
	}
	return w.free()
}

// free claims take any volume that fits, or ask for one.
func (w *view) free() ClaimPlan {
	c := w.claim
	name := classOf(c)
	class, known := w.class(name)
	waits := known && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer && c.Annotations[selectedNode] == ""
	v, err := best(c, w.volumes, waits)
	switch {
	case err != nil:
		return w.pending(&Note{corev1.EventTypeWarning, "FailedBinding", err.Error()})
	case v != nil:
		return w.bind(v)
	case waits && w.consumer != "":
		return w.pending(&Note{corev1.EventTypeNormal, "WaitForPodScheduled", fmt.Sprintf("waiting for pod %s to be scheduled", w.consumer)})
	case waits:
		return w.pending(&Note{corev1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"})
	case name == "" || !w.dynamic:
		return w.pending(&Note{corev1.EventTypeNormal, "FailedBinding", "no persistent volumes available for this claim and no storage class is set"})
	case !known:
		return w.pending(&Note{corev1.EventTypeWarning, "ProvisioningFailed", fmt.Sprintf("storageclass.storage.k8s.io %q not found", name)})
	case strings.HasPrefix(class.Provisioner, inTree):
		return w.pending(&Note{corev1.EventTypeWarning, "ProvisioningFailed", "no volume plugin matched name: " + class.Provisioner})
	}
	p := w.pending(&Note{corev1.EventTypeNormal, "ExternalProvisioning", fmt.Sprintf("Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.", class.Provisioner)})
	if c.Annotations[provisionerKey] != class.Provisioner || c.Annotations[provisionerBeta] != class.Provisioner {
		p.Claim = c.DeepCopy()
		annotate(&p.Claim.Annotations, provisionerKey, class.Provisioner)
		annotate(&p.Claim.Annotations, provisionerBeta, class.Provisioner)
	}
	return p
}

// requested claims name their volume.
func (w *view) requested() ClaimPlan {
	v, ok := w.volume(w.claim.Spec.VolumeName)
	switch {
	case !ok:
		return w.pending(nil)
	case v.Spec.ClaimRef == nil:
		if err := fits(v, w.claim); err != nil {
			return w.pending(&Note{corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind to requested volume %q: %v", v.Name, err)})
		}
		return w.bind(v)
	case isFor(v, w.claim):
		return w.bind(v)
	}
	return w.pending(&Note{corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", v.Name)})
}

// bound claims stay so, or have lost their volume.
func (w *view) bound() ClaimPlan {
	c := w.claim
	if c.Spec.VolumeName == "" {
		return w.lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
	}
	v, ok := w.volume(c.Spec.VolumeName)
	switch {
	case !ok:
		return w.lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case v.Spec.ClaimRef == nil || isFor(v, c):
		return w.bind(v)
	}
	return w.lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

func (w *view) lost(reason, text string) ClaimPlan {
	if w.claim.Status.Phase == corev1.ClaimLost {
		return ClaimPlan{}
	}
	s := w.claim.Status.DeepCopy()
	s.Phase, s.AccessModes, s.Capacity = corev1.ClaimLost, nil, nil
	return ClaimPlan{Status: s, Note: &Note{corev1.EventTypeWarning, reason, text}}
}

func (w *view) pending(n *Note) ClaimPlan {
	p := ClaimPlan{Note: n}
	if w.claim.Status.Phase != corev1.ClaimPending {
		p.Status = w.claim.Status.DeepCopy()
		p.Status.Phase = corev1.ClaimPending
	}
	return p
}

// bind joins the claim and a volume; what is right already is left alone.
func (w *view) bind(v *corev1.PersistentVolume) ClaimPlan {
	var p ClaimPlan
	c := w.claim
	if r := v.Spec.ClaimRef; r == nil || r.UID != c.UID {
		p.Volume = v.DeepCopy()
		p.Volume.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion}
		if r == nil {
			annotate(&p.Volume.Annotations, boundByUs, "yes")
		}
	}
	if c.Spec.VolumeName != v.Name || c.Annotations[bindCompleted] == "" {
		p.Claim = c.DeepCopy()
		if c.Spec.VolumeName == "" {
			p.Claim.Spec.VolumeName = v.Name
			annotate(&p.Claim.Annotations, boundByUs, "yes")
		}
		annotate(&p.Claim.Annotations, bindCompleted, "yes")
	}
	s := c.Status.DeepCopy()
	s.AccessModes = v.Spec.AccessModes
	if s.Phase != corev1.ClaimBound {
		// Later the size of a bound claim is its driver's to say.
		s.Phase, s.Capacity = corev1.ClaimBound, v.Spec.Capacity.DeepCopy()
		s.CurrentVolumeAttributesClassName = v.Spec.VolumeAttributesClassName
	}
	if !equality.Semantic.DeepEqual(s, &c.Status) {
		p.Status = s
	}
	return p
}

func annotate(m *map[string]string, k, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[k] = v
}

// defaultClass is the newest of those that are marked.
func (w *view) defaultClass() string {
	var found *storagev1.StorageClass
	for c := range w.classes {
		if c.Annotations[defaultClass] != "true" && c.Annotations[defaultBeta] != "true" {
			continue
		}
		if found == nil || c.CreationTimestamp.After(found.CreationTimestamp.Time) || c.CreationTimestamp.Equal(&found.CreationTimestamp) && c.Name < found.Name {
			found = c
		}
	}
	if found == nil {
		return ""
	}
	return found.Name
}
